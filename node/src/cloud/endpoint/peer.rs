//! Which user of the operating system a connection of loopback is of: the kernel's own table of connections says it.
//!
//! TCP has no SO_PEERCRED. Linux lists each socket with its user in `/proc/net/tcp` and `/proc/net/tcp6`, to everybody. The one
//! that counts is the client's end of this very connection, established and held by a process: while it is, nobody else can
//! have its address and port. An end that nobody holds is listed without an inode, and as user 0: it counts for nobody.

use std::fs::File;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The most bytes of one table: a hundred thousand connections. With more nobody is told from others, and nobody is let in.
const TABLE_BYTES_MAX: u64 = 16 << 20;
const TABLES: [&str; 2] = ["/proc/net/tcp", "/proc/net/tcp6"];
/// As the kernel numbers states.
const ESTABLISHED: &str = "01";

/// The user that holds the client's end. None: the kernel does not say. It waits for the kernel.
pub(super) fn user(client: SocketAddr, server: SocketAddr) -> io::Result<Option<u32>> {
    for path in TABLES {
        let mut table = String::new();
        match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            opened => opened?.take(TABLE_BYTES_MAX).read_to_string(&mut table)?,
        };
        if let Some(user) = listed(&table, client, server) {
            return Ok(Some(user));
        }
    }
    Ok(None)
}

fn listed(table: &str, client: SocketAddr, server: SocketAddr) -> Option<u32> {
    table.lines().skip(1).find_map(|line| of_line(line, plain(client), plain(server)))
}

/// The user of a line, if it is of a socket from `local` to `remote`.
fn of_line(line: &str, local: (IpAddr, u16), remote: (IpAddr, u16)) -> Option<u32> {
    let mut words = line.split_ascii_whitespace().skip(1);
    let is_it =
        address(words.next()?)? == local && address(words.next()?)? == remote && words.next()? == ESTABLISHED;
    // Behind the state: queues, timer, retransmissions, user, time-out, inode.
    let user = words.nth(3)?.parse().ok()?;
    let inode: u64 = words.nth(1)?.parse().ok()?;
    (is_it && inode != 0).then_some(user)
}

/// `0100007F:1F90`: words of 32 bits in this machine's order that hold the bytes of the address, and the port.
fn address(text: &str) -> Option<(IpAddr, u16)> {
    let (ip, port) = text.split_once(':')?;
    let word = |at: usize| {
        let word = u32::from_str_radix(ip.get(at * 8..at * 8 + 8)?, 16).ok()?;
        Some(word.to_ne_bytes())
    };
    let ip = match ip.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?)),
        32 => {
            let mut bytes = [0; 16];
            for at in 0..4 {
                bytes[at * 4..at * 4 + 4].copy_from_slice(&word(at)?);
            }
            IpAddr::V6(Ipv6Addr::from(bytes))
        }
        _ => return None,
    };
    Some((ip.to_canonical(), u16::from_str_radix(port, 16).ok()?))
}

/// A client may reach 127.0.0.1 by a socket of IPv6.
fn plain(address: SocketAddr) -> (IpAddr, u16) {
    (address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str =
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";

    fn table(lines: &[&str]) -> String {
        HEAD.to_owned() + &lines.join("\n")
    }

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_client_s_end_says_whose_it_is() {
        let (client, server) = (at("127.0.0.1:40000"), at("127.0.0.1:8080"));
        let server_end = "0: 0100007F:1F90 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     7        0 11 1 0 20";
        let client_end = "1: 0100007F:9C40 0100007F:1F90 01 00000000:00000000 00:00000000 00000000  1001        0 12 1 0 20";
        assert_eq!(listed(&table(&[server_end, client_end]), client, server), Some(1001));
        assert_eq!(listed(&table(&[server_end]), client, server), None, "the node's own end is not asked");
        let mapped = "1: 0000000000000000FFFF00000100007F:9C40 0000000000000000FFFF00000100007F:1F90 01 0:0 00:0 0  1002 0 13";
        assert_eq!(listed(&table(&[mapped]), client, server), Some(1002));
        let six = "1: 00000000000000000000000001000000:9C40 00000000000000000000000001000000:1F90 01 0:0 00:0 0  1003 0 13";
        assert_eq!(listed(&table(&[six]), at("[::1]:40000"), at("[::1]:8080")), Some(1003));
    }

    #[test]
    fn an_end_that_nobody_holds_counts_for_nobody() {
        let (client, server) = (at("127.0.0.1:40000"), at("127.0.0.1:8080"));
        let end = |state: &str, inode: u32| {
            table(&[&format!("1: 0100007F:9C40 0100007F:1F90 {state} 0:0 00:0 0  0 0 {inode} 1")])
        };
        assert_eq!(listed(&end("01", 12), client, server), Some(0));
        assert_eq!(listed(&end("01", 0), client, server), None);
        assert_eq!(listed(&end("05", 12), client, server), None, "it is being closed");
        assert_eq!(listed(&table(&["nonsense", "", "1: x:y z:w 01"]), client, server), None);
    }

    #[tokio::test]
    async fn the_kernel_knows_this_process() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = listener.local_addr().unwrap();
        let client = tokio::net::TcpStream::connect(server).await.unwrap();
        let (_held, from) = listener.accept().await.unwrap();
        assert_eq!(user(from, server).unwrap(), Some(rustix::process::geteuid().as_raw()));
        drop(client);
        assert_eq!(user(from, server).unwrap(), None, "nobody holds it any more");
    }
}

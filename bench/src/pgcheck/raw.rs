//! A client that sends bytes which were made before, and counts the rows that come back.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use grantd_node::pgclient::Login;
use grantd_node::{pgwire, tls};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

use super::Failed;

const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
const PROTOCOL: u32 = 3 << 16;
const SYNC: [u8; 5] = [b'S', 0, 0, 0, 4];
/// Bytes that are read at a time.
const READ_BYTES: usize = 64 << 10;
/// The tag and the length.
const HEADER_BYTES: usize = 5;

/// A connection by certificate.
pub(super) struct Raw {
    stream: StreamOwned<ClientConnection, TcpStream>,
    input: Vec<u8>,
    /// How much of the input was looked at.
    seen: usize,
}

impl Raw {
    pub(super) fn connect(login: &Login) -> Result<Self, Failed> {
        let mut tcp = TcpStream::connect((login.host.as_str(), login.port))?;
        tcp.set_nodelay(true)?;
        tcp.write_all(&SSL_REQUEST)?;
        let mut answer = [0];
        tcp.read_exact(&mut answer)?;
        if answer != *b"S" {
            return Err("the server has no TLS".into());
        }
        let certificate = login.certificate.as_ref().map(|(cert, key)| (cert.as_path(), key.as_path()));
        let mut config = tls::client(&login.ca, certificate)?;
        Arc::make_mut(&mut config).alpn_protocols = vec![pgwire::stream::ALPN.to_vec()];
        let name = ServerName::try_from(login.host.clone())?;
        let stream = StreamOwned::new(ClientConnection::new(config, name)?, tcp);
        let mut raw = Self { stream, input: Vec::new(), seen: 0 };
        let mut startup = PROTOCOL.to_be_bytes().to_vec();
        for text in ["user", &login.user, "database", &login.database, ""] {
            startup.extend([text.as_bytes(), &[0]].concat());
        }
        let length = u32::try_from(startup.len() + 4)?;
        raw.send(&[&length.to_be_bytes()[..], &startup].concat())?;
        raw.until_ready()?;
        Ok(raw)
    }

    /// A simple query, which must succeed.
    pub(super) fn query(&mut self, text: &str) -> Result<(), Failed> {
        self.send(&frame(b'Q', &[text.as_bytes(), &[0]].concat()))?;
        self.until_ready().map(drop)
    }

    pub(super) fn prepare(&mut self, name: &str, text: &str) -> Result<(), Failed> {
        let parse = frame(b'P', &[name.as_bytes(), &[0], text.as_bytes(), &[0, 0, 0]].concat());
        self.send(&[parse, SYNC.to_vec()].concat())?;
        self.until_ready().map(drop)
    }

    pub(super) fn send(&mut self, bytes: &[u8]) -> Result<(), Failed> {
        self.stream.write_all(bytes)?;
        Ok(self.stream.flush()?)
    }

    /// How many rows come before the next ReadyForQuery.
    pub(super) fn until_ready(&mut self) -> Result<usize, Failed> {
        let mut rows = 0;
        loop {
            while let Some(header) = self.input.get(self.seen..self.seen + HEADER_BYTES) {
                let length = u32::from_be_bytes([header[1], header[2], header[3], header[4]]);
                let (tag, end) = (header[0], self.seen + 1 + length as usize);
                if end > self.input.len() {
                    break;
                }
                let body = &self.input[self.seen + HEADER_BYTES..end];
                match tag {
                    b'D' => rows += 1,
                    b'E' => return Err(String::from_utf8_lossy(body).into_owned().into()),
                    b'Z' => {
                        self.seen = end;
                        return Ok(rows);
                    }
                    _ => {}
                }
                self.seen = end;
            }
            self.input.drain(..self.seen);
            self.seen = 0;
            let before = self.input.len();
            self.input.resize(before + READ_BYTES, 0);
            let count = self.stream.read(&mut self.input[before..])?;
            self.input.truncate(before + count);
            if count == 0 {
                return Err("the server closed the connection".into());
            }
        }
    }
}

/// Bind and Execute for each of `questions`, then Sync: texts in, the answer in binary.
pub(super) fn batch(statement: &str, questions: &[[String; 3]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for question in questions {
        let mut body = [&[0][..], statement.as_bytes(), &[0, 0, 0, 0, 3]].concat();
        for value in question {
            body.extend(u32::try_from(value.len()).unwrap_or(0).to_be_bytes());
            body.extend(value.as_bytes());
        }
        body.extend([0, 1, 0, 1]);
        bytes.extend(frame(b'B', &body));
        bytes.extend(frame(b'E', &[0, 0, 0, 0, 0]));
    }
    bytes.extend(SYNC);
    bytes
}

fn frame(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
    [&[tag][..], &length.to_be_bytes(), body].concat()
}

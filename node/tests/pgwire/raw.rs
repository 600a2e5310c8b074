//! A client that sends exactly the bytes it is told to, and writes down what comes back.

use bytes::{Buf, Bytes, BytesMut};
use grantd_node::pgwire::Server;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::scripted::client_tls;

pub const SSL_REQUEST: &[u8] = &[0, 0, 0, 8, 4, 210, 22, 47];

/// A connection of root, logged in by certificate.
pub struct Raw {
    stream: TlsStream<TcpStream>,
    input: BytesMut,
    /// What came before the first ReadyForQuery.
    pub greeting: Vec<String>,
}

impl Raw {
    pub async fn connect(server: &Server, protocol: i32, settings: &[(&str, &str)]) -> Self {
        let mut tcp = TcpStream::connect(server.address()).await.unwrap();
        tcp.write_all(SSL_REQUEST).await.unwrap();
        assert_eq!(tcp.read_u8().await.unwrap(), b'S');
        let name = ServerName::try_from("localhost").unwrap();
        let stream = TlsConnector::from(client_tls(Some("root"))).connect(name, tcp).await.unwrap();
        let mut raw = Self { stream, input: BytesMut::new(), greeting: Vec::new() };
        raw.send(&startup(protocol, settings)).await;
        raw.greeting = raw.until_ready().await;
        raw
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// Sends, and what comes back to the next ReadyForQuery or the end.
    pub async fn ask(&mut self, bytes: &[u8]) -> Vec<String> {
        self.send(bytes).await;
        self.until_ready().await
    }

    pub async fn until_ready(&mut self) -> Vec<String> {
        let mut replies = Vec::new();
        while let Some(reply) = self.reply().await {
            let last = reply.starts_with("Ready");
            replies.push(reply);
            if last {
                break;
            }
        }
        replies
    }

    pub async fn replies(&mut self, count: usize) -> Vec<String> {
        let mut replies = Vec::new();
        for _ in 0..count {
            replies.push(self.reply().await.unwrap());
        }
        replies
    }

    async fn reply(&mut self) -> Option<String> {
        loop {
            if let Some(reply) = split(&mut self.input) {
                return Some(reply);
            }
            if self.stream.read_buf(&mut self.input).await.unwrap_or(0) == 0 {
                return None;
            }
        }
    }
}

/// All replies that are whole in `bytes`.
pub fn replies(bytes: &[u8]) -> Vec<String> {
    let mut input = BytesMut::from(bytes);
    std::iter::from_fn(|| split(&mut input)).collect()
}

fn split(input: &mut BytesMut) -> Option<String> {
    let length = (&mut input.get(1..5)?).get_u32() as usize;
    if input.len() < length + 1 {
        return None;
    }
    let mut frame = input.split_to(length + 1).freeze();
    let tag = frame.get_u8();
    frame.advance(4);
    Some(describe(tag, frame))
}

fn describe(tag: u8, mut body: Bytes) -> String {
    match tag {
        b'1' => "Parsed".to_owned(),
        b'2' => "Bound".to_owned(),
        b'3' => "Closed".to_owned(),
        b's' => "Suspended".to_owned(),
        b'n' => "NoData".to_owned(),
        b'I' => "Empty".to_owned(),
        b'Z' => format!("Ready {}", char::from(body[0])),
        b'C' => format!("Complete {}", text(&mut body)),
        b'K' => format!("Key of {} bytes", body.len() - 4),
        b'S' => format!("{}={}", text(&mut body), text(&mut body)),
        b'R' => format!("Authentication {}", body.get_u32()),
        b'v' => {
            let (version, count) = (body.get_u32(), body.get_u32());
            let unknown: Vec<_> = (0..count).map(|_| text(&mut body)).collect();
            format!("Negotiate {version:#x} {unknown:?}")
        }
        b't' => {
            let count = body.get_u16();
            format!("Parameters {:?}", (0..count).map(|_| body.get_u32()).collect::<Vec<_>>())
        }
        b'T' => {
            let count = body.get_u16();
            let column = |_| {
                let name = text(&mut body);
                body.advance(6);
                let (oid, size) = (body.get_u32(), body.get_i16());
                body.advance(4);
                format!("{name} {oid} {size} {}", body.get_u16())
            };
            format!("Columns {:?}", (0..count).map(column).collect::<Vec<_>>())
        }
        b'D' => {
            body.advance(2);
            let length = body.get_i32();
            format!("Row {:?}", body.split_to(usize::try_from(length).unwrap_or(0)))
        }
        b'G' | b'H' => {
            let word = if tag == b'G' { "CopyIn" } else { "CopyOut" };
            let (format, count) = (body.get_u8(), body.get_u16());
            let formats: Vec<_> = (0..count).map(|_| body.get_u16()).collect();
            format!("{word} {format} {formats:?}")
        }
        b'd' => format!("CopyData {body:?}"),
        b'c' => "CopyDone".to_owned(),
        b'E' | b'N' => {
            let mut fields = Vec::new();
            while body[0] != 0 {
                let (kind, value) = (char::from(body.get_u8()), text(&mut body));
                if kind != 'V' {
                    fields.push(value);
                }
            }
            fields.join(" | ")
        }
        other => format!("unexpected {}", char::from(other)),
    }
}

fn text(body: &mut Bytes) -> String {
    let end = body.iter().position(|byte| *byte == 0).unwrap();
    let text = String::from_utf8(body.split_to(end).to_vec()).unwrap();
    body.advance(1);
    text
}

pub fn startup(protocol: i32, settings: &[(&str, &str)]) -> Vec<u8> {
    let mut body = protocol.to_be_bytes().to_vec();
    for (name, value) in settings {
        body.extend([name.as_bytes(), &[0], value.as_bytes(), &[0]].concat());
    }
    body.push(0);
    [&u32::try_from(body.len() + 4).unwrap().to_be_bytes()[..], &body].concat()
}

pub fn frame(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap();
    [&[tag][..], &length.to_be_bytes(), body].concat()
}

pub fn query(text: &str) -> Vec<u8> {
    frame(b'Q', &[text.as_bytes(), &[0]].concat())
}

pub fn parse(name: &str, text: &str) -> Vec<u8> {
    frame(b'P', &[name.as_bytes(), &[0], text.as_bytes(), &[0, 0, 0]].concat())
}

/// Binds text parameters; results as text.
pub fn bind(portal: &str, statement: &str, values: &[&str]) -> Vec<u8> {
    let mut body = [portal.as_bytes(), &[0], statement.as_bytes(), &[0, 0, 0]].concat();
    body.extend(u16::try_from(values.len()).unwrap().to_be_bytes());
    for value in values {
        body.extend(u32::try_from(value.len()).unwrap().to_be_bytes());
        body.extend(value.as_bytes());
    }
    body.extend([0, 0]);
    frame(b'B', &body)
}

pub fn describe_statement(name: &str) -> Vec<u8> {
    frame(b'D', &[b"S", name.as_bytes(), &[0]].concat())
}

pub fn execute(portal: &str, rows_max: u32) -> Vec<u8> {
    frame(b'E', &[portal.as_bytes(), &[0], &rows_max.to_be_bytes()].concat())
}

pub fn close_statement(name: &str) -> Vec<u8> {
    frame(b'C', &[b"S", name.as_bytes(), &[0]].concat())
}

pub fn close_portal(name: &str) -> Vec<u8> {
    frame(b'C', &[b"P", name.as_bytes(), &[0]].concat())
}

pub const SYNC: &[u8] = &[b'S', 0, 0, 0, 4];
pub const FLUSH: &[u8] = &[b'H', 0, 0, 0, 4];

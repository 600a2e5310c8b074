//! Messages that wait for a sink: in memory while they are few, else in a file without a name.

use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::sync::Arc;

use grantd_catalog::id::Timestamp;
use tempfile::SpooledTempFile;

use crate::feed::shape::Shape;
use crate::feed::sink::Message;

/// Messages of one scan.
pub struct Spool {
    topic: Arc<str>,
    updated: Timestamp,
    shape: Arc<Shape>,
    file: State,
}

enum State {
    Written(BufWriter<SpooledTempFile>),
    Read(BufReader<SpooledTempFile>),
    Broken,
}

impl Spool {
    pub(super) fn new(topic: Arc<str>, updated: Timestamp, shape: Arc<Shape>) -> Self {
        let file = State::Written(BufWriter::new(tempfile::spooled_tempfile(MEMORY_BYTES_MAX)));
        Self { topic, updated, shape, file }
    }

    /// Adds a message.
    pub(super) fn put(&mut self, key: &[u8], value: Option<&[u8]>) -> io::Result<()> {
        let State::Written(file) = &mut self.file else { return Err(io::Error::other("it is read already")) };
        for part in [Some(key), value] {
            // No length is the highest one, which no part has.
            let length = part.map_or(Ok(u32::MAX), |part| u32::try_from(part.len()));
            file.write_all(&length.map_err(io::Error::other)?.to_le_bytes())?;
            file.write_all(part.unwrap_or_default())?;
        }
        Ok(())
    }

    /// The next messages, of some bytes; none: that was all.
    pub fn batch(&mut self) -> io::Result<Vec<Message>> {
        if let State::Written(_) = self.file {
            let State::Written(file) = std::mem::replace(&mut self.file, State::Broken) else {
                return Err(io::Error::other("it was written"));
            };
            let mut file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
            file.seek(SeekFrom::Start(0))?;
            self.file = State::Read(BufReader::new(file));
        }
        let State::Read(file) = &mut self.file else { return Err(io::Error::other("it broke before")) };
        let (mut messages, mut bytes) = (Vec::new(), 0);
        while bytes < BATCH_BYTES {
            let Some(key) = part(file)? else { break };
            let value = part(file)?.unwrap_or(None);
            let key = key.unwrap_or_default();
            bytes += key.len() + value.as_ref().map_or(0, Vec::len) + size_of::<Message>();
            let (topic, shape) = (Arc::clone(&self.topic), Arc::clone(&self.shape));
            messages.push(Message { topic, key, value, updated: self.updated, shape });
        }
        Ok(messages)
    }
}

/// One part; none: the end; none in it: there was none.
fn part(file: &mut impl Read) -> io::Result<Option<Option<Vec<u8>>>> {
    let mut length = [0; 4];
    match file.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    match u32::from_le_bytes(length) {
        u32::MAX => Ok(Some(None)),
        length => {
            let mut part = vec![0; length as usize];
            file.read_exact(&mut part)?;
            Ok(Some(Some(part)))
        }
    }
}

/// A table of some thousand rows needs no file.
const MEMORY_BYTES_MAX: usize = 4 << 20;
/// What a sink is handed at once.
const BATCH_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_comes_out_as_it_went_in() {
        let mut spool = Spool::new("t".into(), Timestamp::default(), Arc::default());
        let put: Vec<(Vec<u8>, Option<Vec<u8>>)> = (0..20_000_u32)
            .map(|at| (at.to_le_bytes().to_vec(), (at % 3 > 0).then(|| vec![b'x'; (at % 1_000) as usize])))
            .collect();
        for (key, value) in &put {
            spool.put(key, value.as_deref()).unwrap();
        }
        let mut got = Vec::new();
        loop {
            let batch = spool.batch().unwrap();
            if batch.is_empty() {
                break;
            }
            got.extend(batch.into_iter().map(|message| (message.key, message.value)));
        }
        assert_eq!(got, put);
    }
}

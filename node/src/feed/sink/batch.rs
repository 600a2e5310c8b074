//! Messages on their way to a request: put together as the sink's options say, in order.

use std::time::Duration;

use super::Message;
use crate::feed::options::Flush;

/// Messages that wait.
pub(super) struct Waiting {
    flush: Flush,
    messages_max: usize,
    bytes_max: usize,
    messages: Vec<Message>,
    bytes: usize,
}

impl Waiting {
    /// Of a sink that takes at most so much in one request.
    pub fn new(flush: Flush, messages_max: usize, bytes_max: usize) -> Self {
        let messages_max = flush.messages_max.map_or(messages_max, |max| max.min(messages_max)).max(1);
        let messages_max = if flush.messages > 0 { messages_max.min(flush.messages) } else { messages_max };
        Self { flush, messages_max, bytes_max, messages: Vec::new(), bytes: 0 }
    }

    pub fn clear(&mut self) {
        self.messages.clear();
        self.bytes = 0;
    }

    pub fn add(&mut self, messages: Vec<Message>) {
        self.bytes += messages.iter().map(length).sum::<usize>();
        match self.messages.is_empty() {
            true => self.messages = messages,
            false => self.messages.extend(messages),
        }
    }

    /// What goes now, in requests. All of it, if nothing is to wait.
    pub fn due(&mut self, all: bool) -> Vec<Vec<Message>> {
        if !(all || self.flush.is_due(self.messages.len(), self.bytes) || self.bytes > HELD_BYTES_MAX) {
            return Vec::new();
        }
        self.bytes = 0;
        let mut batches = Vec::new();
        let (mut batch, mut bytes) = (Vec::new(), 0);
        for message in std::mem::take(&mut self.messages) {
            let length = length(&message);
            if !batch.is_empty() && (batch.len() == self.messages_max || bytes + length > self.bytes_max) {
                batches.push(std::mem::take(&mut batch));
                bytes = 0;
            }
            bytes += length;
            batch.push(message);
        }
        if !batch.is_empty() {
            batches.push(batch);
        }
        batches
    }

    pub fn linger(&self) -> Option<Duration> {
        (!self.flush.frequency.is_zero()).then_some(self.flush.frequency)
    }
}

pub(super) fn length(message: &Message) -> usize {
    message.key.len() + message.value.as_ref().map_or(0, Vec::len)
}

/// What waits for others goes from here on, whatever the options say: it is in memory.
const HELD_BYTES_MAX: usize = 16 << 20;

#[cfg(test)]
mod tests {
    use grantd_catalog::id::Timestamp;

    use super::*;

    fn messages(count: usize, bytes: usize) -> Vec<Message> {
        let message = |at: usize| Message {
            topic: "t".into(),
            key: format!("[{at}]").into_bytes(),
            value: Some(vec![b'x'; bytes]),
            updated: Timestamp::default(),
            shape: std::sync::Arc::default(),
        };
        (0..count).map(message).collect()
    }

    fn lengths(waiting: &mut Waiting, all: bool) -> Vec<usize> {
        waiting.due(all).iter().map(Vec::len).collect()
    }

    #[test]
    fn messages_wait_for_no_others_unless_told_to() {
        let mut waiting = Waiting::new(Flush::default(), 100, 1 << 20);
        waiting.add(messages(250, 10));
        assert_eq!(lengths(&mut waiting, false), [100, 100, 50]);
        assert_eq!(lengths(&mut waiting, true), [0; 0]);
    }

    #[test]
    fn messages_wait_until_there_are_enough_or_it_is_time() {
        let flush = Flush { messages: 10, frequency: Duration::from_secs(1), ..Flush::default() };
        let mut waiting = Waiting::new(flush, 100, 1 << 20);
        waiting.add(messages(9, 10));
        assert_eq!(lengths(&mut waiting, false), [0; 0]);
        waiting.add(messages(4, 10));
        assert_eq!(lengths(&mut waiting, false), [10, 3]);
        waiting.add(messages(1, 10));
        assert_eq!((lengths(&mut waiting, true), waiting.linger()), (vec![1], Some(Duration::from_secs(1))));
    }

    #[test]
    fn a_request_has_no_more_bytes_than_it_may_but_one_message_whole() {
        let mut waiting = Waiting::new(Flush::default(), 100, 1_000);
        waiting.add(messages(3, 400));
        waiting.add(messages(1, 5_000));
        assert_eq!(lengths(&mut waiting, false), [2, 1, 1]);
    }
}

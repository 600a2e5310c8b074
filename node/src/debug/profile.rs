//! A CPU profile of this process, in the format of pprof.
//!
//! `pprof` interrupts the threads that use the processor by SIGPROF and walks their stacks; outside of a profile there
//! is neither signal nor timer. Samples inside libc, libgcc and the loader are left out: walking a stack from there
//! could wait for a lock that the interrupted code holds. The bytes are written here, as they are a few numbers and
//! strings, and a protobuf compiler is not.
//!
//! Source: github.com/google/pprof, proto/profile.proto; field numbers below are from there.

use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use pprof::{Frames, ProfilerGuardBuilder, Report};

/// Samples in a second. Not 100, so that what happens each 10 ms is not always or never seen.
pub const FREQUENCY_HZ: i32 = 99;
/// The longest profile.
pub const SECONDS_MAX: u64 = 60;
const OUTSIDE: [&str; 5] = ["libc", "libgcc", "pthread", "vdso", "ld-linux"];

/// Takes a profile for `duration`. Cost: some microseconds for each sample, and at the end the names of all functions on
/// a thread that may block. Dropping the future ends it.
///
/// Errors: in words; the system refused, or another profile is being taken.
pub async fn take(duration: Duration) -> Result<Vec<u8>, String> {
    let builder = ProfilerGuardBuilder::default().frequency(FREQUENCY_HZ).blocklist(&OUTSIDE);
    let guard = builder.build().map_err(|error| error.to_string())?;
    tokio::time::sleep(duration).await;
    let encode =
        move || guard.report().build().map(|report| encode(&report)).map_err(|error| error.to_string());
    tokio::task::spawn_blocking(encode).await.map_err(|error| error.to_string())?
}

fn encode(report: &Report) -> Vec<u8> {
    let stacks = report.data.iter().map(|(frames, count)| (stack(frames), (*count).unsigned_abs() as u64));
    let began = report.timing.start_time.duration_since(UNIX_EPOCH).unwrap_or_default();
    profile(stacks.collect(), began, report.timing.duration)
}

/// A thread and what it was in, innermost first.
type Stack = (String, Vec<Place>);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    function: String,
    file: String,
    line: u64,
}

fn stack(frames: &Frames) -> Stack {
    let place = |symbol: &pprof::Symbol| Place {
        function: symbol.name(),
        file: symbol.filename().into_owned(),
        line: u64::from(symbol.lineno()),
    };
    (frames.thread_name_or_id(), frames.frames.iter().flatten().map(place).collect())
}

fn profile(stacks: Vec<(Stack, u64)>, began: Duration, duration: Duration) -> Vec<u8> {
    let mut strings = Numbered::default();
    // Index 0 is the empty text, by the format.
    strings.number(String::new());
    let (mut places, mut functions) = (Numbered::default(), Numbered::default());
    let period = 1_000_000_000 / u64::from(FREQUENCY_HZ.unsigned_abs());
    let mut samples = Message::default();
    for ((thread, stack), count) in stacks {
        let mut sample = Message::default();
        let locations = stack.into_iter().map(|place| places.number(place) + 1).collect::<Vec<_>>();
        sample.packed(1, &locations);
        sample.packed(2, &[count, count * period]);
        let mut label = Message::default();
        label.number(1, strings.number("thread".to_owned()));
        label.number(2, strings.number(thread));
        sample.message(3, &label);
        samples.message(2, &sample);
    }
    let mut value_type = |kind: &str, unit: &str| {
        let mut message = Message::default();
        message.number(1, strings.number(kind.to_owned()));
        message.number(2, strings.number(unit.to_owned()));
        message
    };
    let mut profile = Message::default();
    profile.message(1, &value_type("samples", "count"));
    let cpu = value_type("cpu", "nanoseconds");
    profile.message(1, &cpu);
    profile.0.extend(samples.0);
    for (at, place) in places.sorted().iter().enumerate() {
        let mut line = Message::default();
        line.number(1, functions.number((place.function.clone(), place.file.clone())) + 1);
        line.number(2, place.line);
        let mut location = Message::default();
        location.number(1, at as u64 + 1);
        location.message(4, &line);
        profile.message(4, &location);
    }
    for (at, (name, file)) in functions.sorted().into_iter().enumerate() {
        let mut function = Message::default();
        function.number(1, at as u64 + 1);
        function.number(2, strings.number(name.clone()));
        function.number(3, strings.number(name));
        function.number(4, strings.number(file));
        profile.message(5, &function);
    }
    for text in strings.sorted() {
        profile.bytes(6, text.as_bytes());
    }
    profile.number(9, u64::try_from(began.as_nanos()).unwrap_or(u64::MAX));
    profile.number(10, u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
    profile.message(11, &cpu);
    profile.number(12, period);
    profile.0
}

/// Gives each value a number, from 0, in the order in which they first come.
#[derive(Debug)]
struct Numbered<T>(BTreeMap<T, u64>);

impl<T> Default for Numbered<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T: Ord> Numbered<T> {
    fn number(&mut self, value: T) -> u64 {
        let next = self.0.len() as u64;
        *self.0.entry(value).or_insert(next)
    }

    /// The values by their numbers.
    fn sorted(self) -> Vec<T> {
        let mut pairs: Vec<_> = self.0.into_iter().map(|(value, number)| (number, value)).collect();
        pairs.sort_by_key(|(number, _)| *number);
        pairs.into_iter().map(|(_, value)| value).collect()
    }
}

/// A protobuf message under construction.
#[derive(Debug, Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(u8::try_from(value & 0x7f).unwrap_or_default() | 0x80);
            value >>= 7;
        }
        self.0.push(u8::try_from(value).unwrap_or_default());
    }

    fn number(&mut self, field: u64, value: u64) {
        self.varint(field << 3);
        self.varint(value);
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn message(&mut self, field: u64, message: &Self) {
        self.bytes(field, &message.0);
    }

    fn packed(&mut self, field: u64, values: &[u64]) {
        let mut packed = Self::default();
        for value in values {
            packed.varint(*value);
        }
        self.message(field, &packed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_written_byte_for_byte_as_the_format_says() {
        let place = Place { function: "f".to_owned(), file: "a.rs".to_owned(), line: 300 };
        let stack = ("t".to_owned(), vec![place.clone(), place]);
        let bytes = profile(vec![(stack, 1)], Duration::from_nanos(5), Duration::from_nanos(6));
        #[rustfmt::skip]
        let expected = [
            &[10, 4, 8, 3, 16, 4][..],                                  // samples, count
            &[10, 4, 8, 5, 16, 6],                                      // cpu, nanoseconds
            &[18, 17, 10, 2, 1, 1, 18, 5, 1, 146, 194, 232, 4, 26, 4, 8, 1, 16, 2], // two frames, 10,101,... ns, thread t
            &[34, 9, 8, 1, 34, 5, 8, 1, 16, 172, 2],                    // location 1: function 1, line 300
            &[42, 8, 8, 1, 16, 7, 24, 7, 32, 8],                        // function 1: f in a.rs
            b"\x32\x00\x32\x06thread\x32\x01t\x32\x07samples\x32\x05count\x32\x03cpu\x32\x0bnanoseconds\x32\x01f\x32\x04a.rs",
            &[72, 5, 80, 6, 90, 4, 8, 5, 16, 6, 96, 146, 194, 232, 4],  // times, period
        ]
        .concat();
        assert_eq!(bytes, expected);
    }
}

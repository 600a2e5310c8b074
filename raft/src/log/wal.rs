//! Tells a torn tail of SQLite's write-ahead log from damage in its middle.
//!
//! SQLite reads that log up to the first frame whose checksum is wrong and takes the rest for a write that a crash
//! interrupted. That is right for the last transaction. Before it, it would silently take back what a sync had made
//! durable: a vote, or entries that were acknowledged. Each of our transactions is synced before the next one begins,
//! so a wrong frame with a *later* transaction behind it is damage, and the log must not be opened.
//!
//! Source: <https://www.sqlite.org/fileformat2.html#the_write_ahead_log>.

/// Bytes before the first frame.
const HEADER_BYTES: usize = 32;
/// Bytes of a frame before its page.
const FRAME_HEADER_BYTES: usize = 24;
/// The header's magic number, but for its last bit.
const MAGIC: u32 = 0x377f_0682;

/// The number, from 1, of a frame that is damaged although a later transaction follows it, 0 for the header; none:
/// all is well, or what is wrong is the tail.
pub(super) fn damaged_frame(bytes: &[u8]) -> Option<usize> {
    let (header, frames) = bytes.split_at_checked(HEADER_BYTES)?;
    let magic = word(header, 0);
    let big_endian = magic & 1 == 1;
    let page_bytes = word(header, 8) as usize;
    let mut sum = checksum(&header[..24], (0, 0), big_endian);
    let sound = magic & !1 == MAGIC && page_bytes >= 512 && sum == (word(header, 24), word(header, 28));
    if !sound {
        // SQLite syncs the header before the first frame, and it is too short to be torn. Zeros: a file that a
        // crash left longer than it was written.
        return (!frames.is_empty() && header.iter().any(|byte| *byte != 0)).then_some(0);
    }
    let salt = &header[16..24];
    let mut first_bad = None;
    let mut committed_after_bad = false;
    for (number, frame) in frames.chunks_exact(FRAME_HEADER_BYTES + page_bytes).enumerate() {
        // A frame of an earlier use of the file: the log ends before it.
        if frame[8..16] != *salt {
            if first_bad.is_none() {
                first_bad = Some(number + 1);
            }
            continue;
        }
        if first_bad.is_none() {
            sum = checksum(&frame[..8], sum, big_endian);
            sum = checksum(&frame[FRAME_HEADER_BYTES..], sum, big_endian);
            if sum == (word(frame, 16), word(frame, 20)) {
                continue;
            }
            first_bad = Some(number + 1);
        }
        // Of this use of the file, behind a wrong frame: if the wrong frame's transaction had ended before, it was
        // synced before this frame was written.
        if committed_after_bad {
            return first_bad;
        }
        committed_after_bad = word(frame, 4) != 0;
    }
    None
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn checksum(bytes: &[u8], start: (u32, u32), big_endian: bool) -> (u32, u32) {
    let read = |four: &[u8]| {
        let four = [four[0], four[1], four[2], four[3]];
        if big_endian { u32::from_be_bytes(four) } else { u32::from_le_bytes(four) }
    };
    bytes.chunks_exact(8).fold(start, |(first, second), eight| {
        let first = first.wrapping_add(read(&eight[..4])).wrapping_add(second);
        let second = second.wrapping_add(read(&eight[4..])).wrapping_add(first);
        (first, second)
    })
}

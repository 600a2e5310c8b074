//! The binary `grantd`.

use std::ffi::{c_int, c_long};
use std::process::ExitCode;

/// Threads come and go with what they are asked for, and memory that one took is freed by another: glibc keeps much of it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_purge_delay` of mimalloc 2, whose options are numbered for good.
const PURGE_DELAY: c_int = 15;

#[allow(
    unsafe_code,
    reason = "mimalloc has no safe way to set an option; this function takes two numbers and any of them"
)]
unsafe extern "C" {
    safe fn mi_option_set(option: c_int, value: c_long);
    #[cfg(test)]
    safe fn mi_option_get(option: c_int) -> c_long;
}

/// mimalloc's default, milliseconds.
const DELAY: c_long = 10;

fn main() -> ExitCode {
    // While statements hold much, what is freed goes back to the system at once: with the delay, a node that refused them for want of
    // memory held three times what they may have. Always at once made a COPY take 1.4 times as long, and a BACKUP 3.4 times.
    grantd_raft::memory::on_pressure(|pressed| mi_option_set(PURGE_DELAY, if pressed { 0 } else { DELAY }));
    grantd_node::cli::main()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_is_the_delay_of_purges() {
        // Its default, which no other option has.
        assert_eq!(mi_option_get(PURGE_DELAY), DELAY);
    }
}

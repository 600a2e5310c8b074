//! The binary `grantd`.

use std::process::ExitCode;

/// Threads come and go with what they are asked for, and memory that one took is freed by another: glibc keeps much of it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    grantd_node::cli::main()
}

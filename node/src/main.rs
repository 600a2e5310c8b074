//! The binary `grantd`.

use std::process::ExitCode;

fn main() -> ExitCode {
    grantd_node::cli::main()
}

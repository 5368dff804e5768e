//! The `trustdata` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    trustdata::cli::main()
}

//! The `trustdata` binary.

use std::process::ExitCode;

/// A request makes a few dozen small allocations on one thread and frees them on another: the system's allocator spent a fifth of the
/// service's time on that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    trustdata::cli::main()
}

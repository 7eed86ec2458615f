//! The binary: parse the command line, run, turn the error into an exit code.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // The allocator would take memory by two megabytes at a time, and a small server would seem a large one. Where the
    // kernel knows no such pages there is nothing to switch off.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    keyward::cli::main()
}

//! The binary: parse the command line, run, turn the error into an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    keyward::cli::main()
}

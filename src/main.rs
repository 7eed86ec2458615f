//! The binary: parse the command line, run, turn the error into an exit code.

fn main() {}

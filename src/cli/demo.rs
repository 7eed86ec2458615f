//! `keyward demo`: everything in one process, gone after Ctrl-C.

use std::process::ExitCode;

pub(super) fn run() -> anyhow::Result<ExitCode> {
    anyhow::bail!("the demo is not part of this build yet")
}

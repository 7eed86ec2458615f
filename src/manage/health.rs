//! Whether keyward should be sent requests, and why not.
//!
//! Each part that can say no gives a check; `app` collects them. A check is asked on every probe, so it must answer from
//! memory and at once.

use std::fmt;

/// All checks.
#[derive(Debug, Default)]
pub struct Health {
    checks: Vec<Check>,
}

impl Health {
    /// Adds a check: `Err` with the reason, as a few words for a person.
    #[must_use]
    pub fn with(mut self, name: &'static str, ask: impl Fn() -> Result<(), String> + Send + Sync + 'static) -> Self {
        self.checks.push(Check { name, ask: Box::new(ask) });
        self
    }

    /// Asks every check.
    #[must_use]
    pub fn report(&self) -> Report {
        Report { lines: self.checks.iter().map(|check| (check.name, (check.ask)())).collect() }
    }
}

struct Check {
    name: &'static str,
    ask: Box<dyn Fn() -> Result<(), String> + Send + Sync>,
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// What the checks said. Its text has a line for each.
#[derive(Debug)]
pub struct Report {
    lines: Vec<(&'static str, Result<(), String>)>,
}

impl Report {
    /// Whether none said no.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.lines.iter().all(|(_, said)| said.is_ok())
    }

    /// Each no, as `name: reason`.
    #[must_use]
    pub fn failures(&self) -> Vec<String> {
        let no = |(name, said): &(&str, Result<(), String>)| Some(format!("{name}: {}", said.as_ref().err()?));
        self.lines.iter().filter_map(no).collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, said) in &self.lines {
            match said {
                Ok(()) => writeln!(f, "[+] {name}: ok")?,
                Err(reason) => writeln!(f, "[-] {name}: {reason}")?,
            }
        }
        f.write_str(if self.ready() { "ready\n" } else { "not ready\n" })
    }
}

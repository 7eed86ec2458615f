//! A wrong setting and where somebody has to go to mend it.

use std::fmt;
use std::path::PathBuf;

/// One wrong setting, in one sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where it was said.
    pub place: Place,
    /// The dotted key, such as `routes.0.service`; empty where a whole source is meant.
    pub key: String,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

/// Where a setting was said. Ordered as somebody would go through them: a file from its top, then the rest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Nowhere: it is what keyward does by itself.
    Default,
    /// It follows from another setting.
    Implied,
    /// A settings file as a whole.
    File(PathBuf),
    /// A line and column of a settings file, from 1.
    Line(PathBuf, usize, usize),
    /// A variable of the environment.
    Variable(String),
    /// A flag of the command line.
    Flag(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Implied => f.write_str("implied"),
            Self::File(path) => path.display().fmt(f),
            Self::Line(path, line, column) => write!(f, "{}:{line}:{column}", path.display()),
            Self::Variable(name) | Self::Flag(name) => f.write_str(name),
        }
    }
}

/// Everything that is wrong with the settings, as an error: a numbered list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => writeln!(f, "1 problem in the settings:")?,
            count => writeln!(f, "{count} problems in the settings:")?,
        }
        for (at, problem) in self.0.iter().enumerate() {
            write!(f, "{}{:>3}. {problem}", if at == 0 { "" } else { "\n" }, at + 1)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

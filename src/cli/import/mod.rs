//! `keyward import`: adopt the keys an API has already.

mod rows;

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use zeroize::Zeroizing;

use super::access::{carry_out, unexpected};
use super::output::{print, print_json};
use super::settings::StoreArguments;
use crate::keyring::command::{Command, Outcome};

#[derive(Debug, clap::Args)]
#[command(after_help = FORMAT)]
pub(super) struct Arguments {
    /// A CSV file with a header; - for standard input.
    file: PathBuf,
    #[command(flatten)]
    store: StoreArguments,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let settings = arguments.store.settings()?;
    let keys = {
        let text = read(&arguments.file).with_context(|| format!("cannot read {}", arguments.file.display()))?;
        rows::keys(&text).with_context(|| format!("{}: nothing was imported", arguments.file.display()))?
    };
    let outcome = carry_out(&settings, Command::Import(keys)).await.map_err(|error| {
        // A row is refused only where nothing was imported; of any other trouble the file knows nothing.
        let place = format!("{}: nothing was imported; row 1 is the first below the header", arguments.file.display());
        if error.to_string().starts_with("row ") { error.context(place) } else { error }
    });
    match outcome? {
        Outcome::Imported(made) if arguments.json => print_json(&made),
        Outcome::Imported(made) => Ok(print(&format!(
            "{} keys adopted, {} were there already; {} accounts and {} users made\n",
            made.keys, made.already, made.accounts, made.users
        ))?),
        other => Err(unexpected(&other)),
    }
}

fn read(file: &Path) -> std::io::Result<Zeroizing<Vec<u8>>> {
    if file != Path::new("-") {
        return std::fs::read(file).map(Zeroizing::new);
    }
    let mut text = Zeroizing::new(Vec::new());
    std::io::stdin().lock().read_to_end(&mut text)?;
    Ok(text)
}

const FORMAT: &str = "\
The first line names the columns, in any order:
  secret      the key as clients send it, 16 to 512 visible ASCII characters
  account     the account it is held to; may be empty for kind user
  kind        service (where empty), personal or user
  user        the user behind it; for kinds personal and user
  name        what its owner calls it
  expires_at  from when on it is no longer accepted, such as 2030-01-01T00:00:00Z
The first two are needed. Accounts and users not met before are made. Either every row is adopted or none.";

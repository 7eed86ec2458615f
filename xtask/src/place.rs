//! Where things lie: the repository, the cache folder, the target folder. Nothing else here builds such a path.

use std::env;
use std::path::{Path, PathBuf};

/// The repository's top: the parent of this package.
pub(crate) fn root() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package)
}

/// What survives between two runs and belongs to no clone. `.ci/packages` computes the same path.
pub(crate) fn cache() -> PathBuf {
    let base = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let base = base.unwrap_or_else(|| PathBuf::from(env::var_os("HOME").unwrap_or_default()).join(".cache"));
    base.join("keyward-ci")
}

/// The Python of the tests' own environment.
pub(crate) fn python() -> PathBuf {
    env::var_os("KEYWARD_TEST_PYTHON").map_or_else(|| cache().join("python/bin/python"), PathBuf::from)
}

/// The release binary as `release` leaves it and the image takes it.
pub(crate) fn dist_binary() -> PathBuf {
    root().join("dist/keyward")
}

/// The target folder in use, however it was chosen: this program stands in its `debug` folder.
pub(crate) fn target() -> std::io::Result<PathBuf> {
    let own = env::current_exe()?;
    Ok(own.ancestors().nth(2).unwrap_or(&own).to_path_buf())
}

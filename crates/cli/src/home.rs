//! Where the home is if no option says it, and how it is shown.

use std::path::{Path, PathBuf};

use emptyroom_node::api::Failure;

/// The home that the environment says.
///
/// # Errors
/// When no variable says where it is.
pub(crate) fn default() -> Result<PathBuf, Failure> {
    let variable = |name| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    variable("EMPTYROOM_HOME")
        .or_else(|| variable("XDG_DATA_HOME").map(|data| data.join("emptyroom")))
        .or_else(|| variable("HOME").map(|home| home.join(".local/share/emptyroom")))
        .ok_or_else(|| crate::failure::usage("no home is known", "give --home DIR"))
}

/// A path as text for people.
pub(crate) fn shown(path: &Path) -> String {
    crate::terminal::line(&path.to_string_lossy())
}

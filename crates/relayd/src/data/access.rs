//! The access code: who may make new logs on this relay.
//!
//! Reading and writing an existing log never needs it. By default a random code is made on first start
//! and kept; an operator may name a file with a code of his own, or open the relay to everybody who
//! knows its address.

use std::path::{Path, PathBuf};

use emptyroom_wire::address::parse_access_code;
use emptyroom_wire::op::AccessCode;
use zeroize::Zeroizing;

use super::{DataDir, DataError, read_small, write_private};
use crate::entropy;

const FILE: &str = "access-code";
/// A code that this program makes has this many symbols of five bits each: nobody guesses 130 bits.
const SYMBOLS: usize = 26;
/// Digits and letters without those that people take for one another.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Who may make logs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// Whoever has the code in the data directory, which is made on first start.
    #[default]
    OwnCode,
    /// Whoever has the code in this file.
    CodeFile(PathBuf),
    /// Everybody who knows the relay's address.
    Open,
}

/// Finds the code in force (`None` on an open relay), and makes one if the relay is to have its own and has
/// none yet.
///
/// # Errors
/// The file cannot be read or written, or holds no usable code.
pub fn load(data: &DataDir, access: &Access) -> Result<Option<AccessCode>, DataError> {
    match access {
        Access::Open => Ok(None),
        Access::CodeFile(path) => match read_small(path)? {
            Some(bytes) => parse(path, &bytes).map(Some).map_err(|error| match error {
                DataError::Damaged { path, what } => DataError::NoCode { path, what },
                error => error,
            }),
            None => Err(DataError::io(
                "open",
                path,
                std::io::ErrorKind::NotFound.into(),
            )),
        },
        Access::OwnCode => {
            let path = data.join(FILE);
            if let Some(bytes) = read_small(&path)? {
                return parse(&path, &bytes).map(Some);
            }
            let code = random_code();
            write_private(&path, &code)?;
            parse(&path, &code).map(Some)
        }
    }
}

fn random_code() -> Zeroizing<Vec<u8>> {
    let mut line = Zeroizing::new(vec![0; SYMBOLS]);
    entropy::fill(&mut line);
    for byte in line.iter_mut() {
        *byte = ALPHABET
            .get(usize::from(*byte % 32))
            .copied()
            .unwrap_or(b'0');
    }
    line.push(b'\n');
    line
}

/// One line that may stand in an address as it is.
pub(crate) fn parse(path: &Path, bytes: &[u8]) -> Result<AccessCode, DataError> {
    let damaged = |what| DataError::Damaged {
        path: path.to_owned(),
        what,
    };
    let text = std::str::from_utf8(bytes).map_err(|_| damaged("the access code is not text"))?;
    match text.trim_ascii() {
        "" => Err(damaged(
            "the access code is empty; use --open for a relay without one",
        )),
        code => parse_access_code(code)
            .map_err(|_| damaged("the access code is not 1 to 64 letters, digits, '-' or '_'")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::scratch;
    use std::fs;

    #[test]
    fn own_code_is_made_once() {
        let dir = scratch("own-code");
        let data = DataDir::open(dir.path()).unwrap();
        let code = load(&data, &Access::OwnCode).unwrap().unwrap();
        assert_eq!(code.expose().len(), SYMBOLS);
        assert!(load(&data, &Access::Open).unwrap().is_none());
        assert!(load(&data, &Access::OwnCode).unwrap().unwrap() == code);
    }

    #[test]
    fn code_file_is_checked() {
        let dir = scratch("code-file");
        let data = DataDir::open(dir.path()).unwrap();
        let file = dir.path().join("code");
        let access = Access::CodeFile(file.clone());
        assert!(load(&data, &access).is_err());
        fs::write(&file, "  four-words_for_us \n").unwrap();
        assert_eq!(
            load(&data, &access).unwrap().unwrap().expose(),
            b"four-words_for_us"
        );
        for bad in [
            &b""[..],
            b" \n",
            b"a b",
            b"a\nb",
            b"a&b",
            b"\xff",
            &[b'a'; 65],
        ] {
            fs::write(&file, bad).unwrap();
            assert!(
                matches!(load(&data, &access), Err(DataError::NoCode { .. })),
                "{bad:?}"
            );
        }
    }
}

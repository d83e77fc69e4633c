//! What lies on a disk: its files, a look inside, and a search for what must not be there.

use std::fs;
use std::path::{Path, PathBuf};

/// One file with its bytes.
pub(crate) struct Stored {
    /// Relative to the directory that was looked at.
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
}

/// Every regular file below `directory`, in order of name.
///
/// # Errors
/// When one of them cannot be read.
pub(crate) fn files(directory: &Path) -> Result<Vec<Stored>, String> {
    let mut stored = Vec::new();
    let mut open: Vec<PathBuf> = vec![directory.to_path_buf()];
    while let Some(path) = open.pop() {
        let failed = |e: std::io::Error| format!("{}: {e}", path.display());
        for entry in fs::read_dir(&path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let kind = entry.file_type().map_err(failed)?;
            if kind.is_dir() {
                open.push(entry.path());
            } else if kind.is_file() {
                let file = entry.path();
                let name = file.strip_prefix(directory).unwrap_or(&file);
                stored.push(Stored {
                    name: name.display().to_string(),
                    bytes: fs::read(&file).map_err(failed)?,
                });
            }
        }
    }
    stored.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(stored)
}

/// How often any of `texts` stands in the files: as it is, as UTF-16, in hexadecimal or in base64.
pub(crate) fn count(files: &[Stored], texts: &[String]) -> usize {
    let needles: Vec<Vec<u8>> = texts.iter().flat_map(|text| shapes(text)).collect();
    files
        .iter()
        .map(|file| {
            needles
                .iter()
                .map(|needle| occurrences(&file.bytes, needle))
                .sum::<usize>()
        })
        .sum()
}

fn shapes(text: &str) -> Vec<Vec<u8>> {
    let bytes = text.as_bytes();
    let wide = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut shapes = vec![
        bytes.to_vec(),
        wide,
        hex.to_uppercase().into_bytes(),
        hex.into_bytes(),
    ];
    // Base64 of a text depends on where in a group of three its first byte falls.
    shapes.extend((0..3).filter_map(|skip| base64_inside(bytes.get(skip..)?)));
    shapes
}

/// The base64 of as many whole groups of three as there are.
fn base64_inside(bytes: &[u8]) -> Option<Vec<u8>> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = Vec::new();
    for group in bytes.chunks_exact(3) {
        let bits = group
            .iter()
            .fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte));
        for shift in [18, 12, 6, 0] {
            out.push(*ALPHABET.get(bits >> shift & 63)?);
        }
    }
    (out.len() >= 8).then_some(out)
}

fn occurrences(bytes: &[u8], needle: &[u8]) -> usize {
    bytes
        .windows(needle.len())
        .filter(|window| *window == needle)
        .count()
}

/// Lines of sixteen bytes in hexadecimal and as text, from `start` on.
pub(crate) fn hexdump(bytes: &[u8], start: usize, lines: usize) -> String {
    let tail = bytes.get(start..).unwrap_or_default();
    let rows = tail
        .chunks(16)
        .take(lines)
        .enumerate()
        .map(|(number, row)| {
            let hex: String = row.iter().map(|byte| format!("{byte:02x} ")).collect();
            let text: String = row.iter().map(|byte| visible(*byte)).collect();
            format!("{:08x}  {hex:<48} |{text}|", start + number * 16)
        });
    rows.collect::<Vec<_>>().join("\n")
}

fn visible(byte: u8) -> char {
    if byte.is_ascii_graphic() || byte == b' ' {
        char::from(byte)
    } else {
        '.'
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(bytes: &[u8]) -> Vec<Stored> {
        vec![Stored {
            name: "x".into(),
            bytes: bytes.to_vec(),
        }]
    }

    #[test]
    fn a_text_is_found_in_every_shape() {
        let texts = ["the door code".to_owned()];
        for shape in [
            &b"..the door code.."[..],
            b"t\0h\0e\0 \0d\0o\0o\0r\0 \0c\0o\0d\0e\0",
            b"74686520646f6f7220636f6465",
            b"74686520646F6F7220636F6465",
            b"dGhlIGRvb3IgY29kZQ==",
            b"IHRoZSBkb29yIGNvZGU=",
        ] {
            assert_ne!(count(&stored(shape), &texts), 0);
        }
        assert_eq!(count(&stored(b"the floor code"), &texts), 0);
    }

    #[test]
    fn a_hexdump_shows_offsets_bytes_and_text() {
        let shown = hexdump(b"0123456789abcdefGH\x00", 16, 2);
        assert_eq!(shown, format!("00000010  {:<48} |GH.|", "47 48 00 "));
    }
}

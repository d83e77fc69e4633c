//! Base32 (RFC 4648, no padding) for what people copy: no character that chat programs, mail or line
//! breaks change, either case, and the alphabet of small QR codes.

const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// Lower-case text of the bytes.
pub(crate) fn encode(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(5) * 8);
    for chunk in bytes.chunks(5) {
        let mut bits = [0; 8];
        for (to, from) in bits.iter_mut().skip(3).zip(chunk) {
            *to = *from;
        }
        let bits = u64::from_be_bytes(bits);
        for place in 0..(chunk.len() * 8).div_ceil(5) {
            let index = usize::try_from((bits >> (35 - 5 * place)) & 31).unwrap_or(0);
            out.push(ALPHABET.get(index).copied().map_or('a', char::from));
        }
    }
    out
}

/// The bytes of a text in either case; `None` if it is not exactly what [`encode`] gives but for case.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() * 5 / 8);
    for chunk in text.as_bytes().chunks(8) {
        let mut bits = 0_u64;
        for byte in chunk {
            bits = (bits << 5) | value(*byte)?;
        }
        bits <<= 5 * (8 - chunk.len());
        let len = chunk.len() * 5 / 8;
        // A last group of 1, 3 or 6 characters is none, nor are bits beyond the bytes.
        let spare = chunk.len() * 5 - len * 8;
        let beyond = bits & ((1 << (40 - 8 * len)) - 1);
        if spare >= 5 || beyond != 0 {
            return None;
        }
        out.extend(bits.to_be_bytes().into_iter().skip(3).take(len));
    }
    Some(out)
}

fn value(byte: u8) -> Option<u64> {
    match byte.to_ascii_lowercase() {
        letter @ b'a'..=b'z' => Some(u64::from(letter - b'a')),
        digit @ b'2'..=b'7' => Some(u64::from(digit - b'2') + 26),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{decode, encode};

    #[test]
    fn rfc4648_vectors() {
        let vectors = [
            ("", ""),
            ("f", "my"),
            ("fo", "mzxq"),
            ("foo", "mzxw6"),
            ("foob", "mzxw6yq"),
            ("fooba", "mzxw6ytb"),
            ("foobar", "mzxw6ytboi"),
        ];
        for (plain, text) in vectors {
            assert_eq!(encode(plain.as_bytes()), text);
            assert_eq!(decode(text).as_deref(), Some(plain.as_bytes()));
            assert_eq!(
                decode(&text.to_uppercase()).as_deref(),
                Some(plain.as_bytes())
            );
        }
    }

    #[test]
    fn only_one_text_per_value() {
        for bad in [
            "m", "mzx", "mzxw6y", "mz", "mzxr", "mzxw7", "mzxw6yr", "m!", "m1", "my======",
        ] {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }
}

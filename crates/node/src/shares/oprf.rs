//! Asking a relay's oblivious function: RFC 9497, ristretto255-SHA512, mode 0x00, by the crate `voprf`.

use emptyroom_wire::codec;
use emptyroom_wire::rng::CryptoRng;
use emptyroom_wire::share::{Element, ShareKey};
use rand_core_06::RngCore;
use voprf::{EvaluationElement, OprfClient, OprfServer, Ristretto255};
use zeroize::{Zeroize, Zeroizing};

/// What the function gives for an input under one relay's key.
pub struct Output(Zeroizing<[u8; 64]>);

/// An input that was blinded for one relay.
pub struct Question {
    client: OprfClient<Ristretto255>,
    input: Zeroizing<Vec<u8>>,
    blinded: Element,
}

impl Output {
    fn of(bytes: &mut [u8]) -> Output {
        let mut output = Zeroizing::new([0; 64]);
        output.copy_from_slice(bytes);
        bytes.zeroize();
        Output(output)
    }

    /// How it begins: enough to tell two apart, and too little for anything else.
    #[must_use]
    pub fn begin(&self) -> [u8; 16] {
        let first = self.0.first_chunk();
        first.copied().unwrap_or_default()
    }

    /// The bytes, for the moment of their use.
    #[must_use]
    pub fn expose(&self) -> &[u8; 64] {
        &self.0
    }
}

impl Question {
    /// Blinds an input. Each relay is asked another element, and learns nothing from it.
    #[must_use]
    pub fn new(input: &[u8; 32], rng: &mut dyn CryptoRng) -> Question {
        Question::of(input, rng)
    }

    fn of(input: &[u8], rng: &mut dyn CryptoRng) -> Question {
        let blinded = OprfClient::<Ristretto255>::blind(input, &mut Older(rng))
            .expect("32 bytes are neither too few nor too many");
        let bytes = blinded.message.serialize();
        Question {
            client: blinded.state,
            input: Zeroizing::new(input.to_vec()),
            blinded: Element::new(bytes.into()).expect("what is blinded is an element"),
        }
    }

    /// What the relay is asked.
    #[must_use]
    pub fn element(&self) -> Element {
        self.blinded
    }

    /// What the function gives, from the relay's answer. Whether it was answered rightly does not show here.
    #[must_use]
    pub fn finish(&self, evaluated: &Element) -> Output {
        let evaluated = EvaluationElement::deserialize(&evaluated.to_bytes())
            .expect("an element has one encoding");
        let output = self.client.finalize(&self.input, &evaluated);
        Output::of(&mut output.expect("32 bytes are not too many"))
    }
}

/// A key for a relay.
#[must_use]
pub fn new_key(rng: &mut dyn CryptoRng) -> ShareKey {
    let server = OprfServer::<Ristretto255>::new(&mut Older(rng)).expect("a seed of 32 bytes");
    let mut bytes = server.serialize();
    let key = ShareKey::new(bytes.into());
    bytes.as_mut_slice().zeroize();
    key.expect("a key is a scalar that is not zero")
}

/// What a relay with this key will answer for this input: whoever makes the key needs not ask.
#[must_use]
pub fn evaluate(key: &ShareKey, input: &[u8; 32]) -> Output {
    evaluate_bytes(key, input)
}

fn evaluate_bytes(key: &ShareKey, input: &[u8]) -> Output {
    let bytes = Zeroizing::new(codec::encode(key).expect("a key has one length"));
    let server = OprfServer::<Ristretto255>::new_with_key(&bytes);
    let server = server.expect("a key is a scalar that is not zero");
    let output = server.evaluate(input);
    Output::of(&mut output.expect("32 bytes are not too many"))
}

/// Our generator as the crate `voprf` takes it, which uses an older trait.
struct Older<'a>(&'a mut dyn CryptoRng);

impl RngCore for Older<'_> {
    fn next_u32(&mut self) -> u32 {
        self.0.next_u32()
    }

    fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        self.0.fill_bytes(bytes);
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), rand_core_06::Error> {
        self.0.fill_bytes(bytes);
        Ok(())
    }
}

impl rand_core_06::CryptoRng for Older<'_> {}

#[cfg(test)]
mod tests {
    use emptyroom_wire::share::{Element, ShareKey};

    use super::super::tests::{Script, unhex};
    use super::{Question, evaluate_bytes};

    const KEY: &str = "5ebcea5ee37023ccb9fc2d2019f9d7737be85591ae8652ffa9ef0f4d37063b0e";
    const BLIND: &str = "64d37aed22a27f5191de1c1d69fadb899d8862b58eb4220029e036ec4c1f6706";

    /// Input, blinded element, evaluation, output.
    const VECTORS: [[&str; 4]; 2] = [
        [
            "00",
            "609a0ae68c15a3cf6903766461307e5c8bb2f95e7e6550e1ffa2dc99e412803c",
            "7ec6578ae5120958eb2db1745758ff379e77cb64fe77b0b2d8cc917ea0869c7e",
            "527759c3d9366f277d8c6020418d96bb393ba2afb20ff90df23fb7708264e2f3ab9135e3bd69955851de4b1f9fe8a0973396719b7912ba9ee8aa7d0b5e24bcf6",
        ],
        [
            "5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a",
            "da27ef466870f5f15296299850aa088629945a17d1f5b7f5ff043f76b3c06418",
            "b4cbf5a4f1eeda5a63ce7b77c7d23f461db3fcab0dd28e4e17cecb5c90d02c25",
            "f4a74c9c592497375e796aa837e907b1a045d34306a749db9f34221f7e750cb4f2a6413a6bf6fa5e19ba6348eb673934a722a7ede2e7621306d18951e7cf2c73",
        ],
    ];

    /// RFC 9497, A.1.1: both ends, ours and the relay's.
    // [SPEC 11.50]
    #[test]
    fn the_function_is_that_of_the_rfc() {
        let key = ShareKey::new(unhex(KEY).try_into().unwrap()).unwrap();
        for [input, blinded, evaluated, output] in VECTORS {
            // 64 bytes modulo the group order are the blind.
            let blind = [unhex(BLIND), vec![0; 32]].concat();
            let question = Question::of(&unhex(input), &mut Script(blind));
            assert_eq!(question.element().to_bytes().to_vec(), unhex(blinded));
            let answer = key.evaluate(&question.element());
            assert_eq!(answer.to_bytes().to_vec(), unhex(evaluated));
            assert_eq!(question.finish(&answer).expose().to_vec(), unhex(output));
            let other = Element::new(unhex(blinded).try_into().unwrap()).unwrap();
            assert_ne!(question.finish(&other).expose().to_vec(), unhex(output));
            let unasked = evaluate_bytes(&key, &unhex(input));
            assert_eq!(unasked.expose().to_vec(), unhex(output));
        }
    }
}

//! The reference: two members of a bare OpenMLS group, its own store in memory, nothing around it.

use ed25519_dalek::{Signer as _, SigningKey};
use emptyroom_load::Trouble;
use openmls::prelude::{
    BasicCredential, Ciphersuite, CredentialWithKey, KeyPackage, MlsGroup, MlsGroupCreateConfig,
    MlsGroupJoinConfig, MlsMessageBodyIn, MlsMessageIn, ProcessedMessageContent, ProtocolMessage,
    StagedWelcome,
};
use openmls_rust_crypto::OpenMlsRustCrypto;
use openmls_traits::signatures::{Signer, SignerError};
use openmls_traits::types::SignatureScheme;
use tls_codec::{DeserializeBytes as _, Serialize as _};

const SUITE: Ciphersuite = Ciphersuite::MLS_128_MLKEM768X25519_AES128GCM_SHA256_Ed25519;

struct Key(SigningKey);

impl Signer for Key {
    fn sign(&self, payload: &[u8]) -> Result<Vec<u8>, SignerError> {
        Ok(self.0.sign(payload).to_vec())
    }

    fn signature_scheme(&self) -> SignatureScheme {
        SignatureScheme::ED25519
    }
}

/// One member.
pub(crate) struct Member {
    provider: OpenMlsRustCrypto,
    key: Key,
    group: MlsGroup,
}

/// Two members of one group.
pub(crate) fn pair() -> Result<(Member, Member), Trouble> {
    let (first, second) = (OpenMlsRustCrypto::default(), OpenMlsRustCrypto::default());
    let (first_key, second_key) = (
        Key(SigningKey::from_bytes(&[1; 32])),
        Key(SigningKey::from_bytes(&[2; 32])),
    );
    let config = MlsGroupCreateConfig::builder()
        .ciphersuite(SUITE)
        .use_ratchet_tree_extension(true)
        .build();
    let mut group = MlsGroup::new(&first, &first_key, &config, credential(&first_key, "first"))?;
    let package = KeyPackage::builder().build(
        SUITE,
        &second,
        &second_key,
        credential(&second_key, "second"),
    )?;
    let (_, welcome, _) =
        group.add_members(&first, &first_key, &[package.key_package().clone()])?;
    group.merge_pending_commit(&first)?;
    let welcome = MlsMessageIn::tls_deserialize_exact_bytes(&welcome.tls_serialize_detached()?)?;
    let MlsMessageBodyIn::Welcome(welcome) = welcome.extract() else {
        return Err("no welcome".into());
    };
    let joined =
        StagedWelcome::new_from_welcome(&second, &MlsGroupJoinConfig::default(), welcome, None)?;
    let joined = joined.into_group(&second)?;
    let member = |provider, key, group| Member {
        provider,
        key,
        group,
    };
    Ok((
        member(first, first_key, group),
        member(second, second_key, joined),
    ))
}

fn credential(key: &Key, name: &str) -> CredentialWithKey {
    CredentialWithKey {
        credential: BasicCredential::new(name.as_bytes().to_vec()).into(),
        signature_key: key.0.verifying_key().as_bytes().to_vec().into(),
    }
}

impl Member {
    pub(crate) fn encrypt(&mut self, text: &[u8]) -> Result<Vec<u8>, Trouble> {
        let message = self.group.create_message(&self.provider, &self.key, text)?;
        Ok(message.tls_serialize_detached()?)
    }

    pub(crate) fn decrypt(&mut self, message: &[u8]) -> Result<Vec<u8>, Trouble> {
        let message: ProtocolMessage =
            MlsMessageIn::tls_deserialize_exact_bytes(message)?.try_into_protocol_message()?;
        let processed = self.group.process_message(&self.provider, message)?;
        match processed.into_content() {
            ProcessedMessageContent::ApplicationMessage(text) => Ok(text.into_bytes()),
            _ => Err("not a message".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_reference_talks() {
        let (mut first, mut second) = super::pair().unwrap();
        let message = first.encrypt(b"there").unwrap();
        assert_eq!(second.decrypt(&message).unwrap(), b"there");
    }
}

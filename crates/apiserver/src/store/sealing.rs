//! Sealing: objects of some resources (Secrets) are encrypted in the log, in snapshots and in
//! backups, by keys in a file of their own.
//!
//! AES-256-GCM with a random nonce; what an object is called stays readable, everything else about
//! it is sealed, and its place and revision are authenticated with it, so a sealed object cannot
//! be moved to another name.

use super::{Key, StoreError};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::{Deserialize, Serialize};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes of an AES-256 key.
const KEY_BYTES: usize = 32;
/// The only algorithm so far, as the key file names it.
const ALGORITHM: &str = "AES-256-GCM";

/// Which objects are sealed, and by the keys of which file.
#[derive(Debug, Clone)]
pub struct Sealing {
    /// The key file; created, readable by its owner only, if absent.
    pub keys: PathBuf,
    /// Storage names of the sealed resources.
    pub resources: Vec<Arc<str>>,
}

impl Sealing {
    /// Seals Secrets with the keys in `file`.
    pub fn secrets(file: impl Into<PathBuf>) -> Self {
        Self {
            keys: file.into(),
            resources: vec!["secrets".into()],
        }
    }
}

/// What is wrong with a key file or with something sealed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SealError {
    /// The file could not be read or written.
    #[error("key file {file}")]
    Io {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        source: Arc<std::io::Error>,
    },
    /// The file is not a key file.
    #[error("key file {file}: {why}")]
    Malformed {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A sealed object names a key that the file does not have.
    #[error("objects are sealed with key {0}, which the key file does not have")]
    UnknownKey(u32),
    /// A sealed object does not open: the key is another one, or the bytes were changed.
    #[error("an object sealed with key {0} does not open: wrong key, or changed bytes")]
    Unopened(u32),
    /// The system gave no random numbers.
    #[error("no random numbers")]
    NoRandomness,
}

impl From<SealError> for StoreError {
    fn from(error: SealError) -> Self {
        Self::Sealed(Arc::new(error))
    }
}

/// The key file's content: newest key first.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    keys: Vec<StoredKey>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredKey {
    id: u32,
    algorithm: String,
    /// Base64.
    secret: String,
}

/// The keys, newest first: the first one seals, all of them open.
pub(super) struct Keyring {
    keys: Vec<(u32, [u8; KEY_BYTES], LessSafeKey)>,
    resources: Vec<Arc<str>>,
    random: SystemRandom,
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ids: Vec<u32> = self.keys.iter().map(|(id, ..)| *id).collect();
        f.debug_struct("Keyring")
            .field("keys", &ids)
            .field("resources", &self.resources)
            .finish_non_exhaustive()
    }
}

/// A sealed text and what opens it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sealed<'a> {
    pub(super) key: u32,
    pub(super) nonce: [u8; NONCE_LEN],
    pub(super) bytes: &'a [u8],
}

impl Keyring {
    /// Reads the key file, or makes one with a first key.
    pub(super) fn load_or_create(sealing: &Sealing) -> Result<Self, SealError> {
        let file = &sealing.keys;
        let text = match std::fs::read(file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let mut ring = Self::empty(sealing);
                ring.add_key()?;
                ring.save(file)?;
                return Ok(ring);
            }
            Err(error) => return Err(io(file, error)),
        };
        Self::parse(sealing, &text)
    }

    fn empty(sealing: &Sealing) -> Self {
        Self {
            keys: Vec::new(),
            resources: sealing.resources.clone(),
            random: SystemRandom::new(),
        }
    }

    fn parse(sealing: &Sealing, text: &[u8]) -> Result<Self, SealError> {
        let malformed = |why: String| SealError::Malformed {
            file: sealing.keys.clone(),
            why,
        };
        let stored: KeyFile = serde_json::from_slice(text).map_err(|e| malformed(e.to_string()))?;
        let mut ring = Self::empty(sealing);
        for key in stored.keys {
            if key.algorithm != ALGORITHM {
                let why = format!("key {}: algorithm must be {ALGORITHM}", key.id);
                return Err(malformed(why));
            }
            let secret = BASE64.decode(&key.secret).unwrap_or_default();
            let secret: [u8; KEY_BYTES] = secret.try_into().map_err(|_| {
                malformed(format!(
                    "key {}: the secret must be {KEY_BYTES} bytes in base64",
                    key.id
                ))
            })?;
            if ring.keys.iter().any(|(id, ..)| *id == key.id) {
                return Err(malformed(format!("key {} is there twice", key.id)));
            }
            let ready = ready(&secret)?;
            ring.keys.push((key.id, secret, ready));
        }
        if ring.keys.is_empty() {
            return Err(malformed("there is no key in it".to_owned()));
        }
        Ok(ring)
    }

    /// These keys and a new one, which seals from now on.
    pub(super) fn rotated(&self) -> Result<Self, SealError> {
        let mut ring = Self {
            keys: Vec::new(),
            resources: self.resources.clone(),
            random: SystemRandom::new(),
        };
        for (id, secret, _) in &self.keys {
            ring.keys.push((*id, *secret, ready(secret)?));
        }
        ring.add_key()?;
        Ok(ring)
    }

    /// Only the key that seals.
    pub(super) fn only_newest(&self) -> Result<Self, SealError> {
        let mut ring = Self {
            keys: Vec::new(),
            resources: self.resources.clone(),
            random: SystemRandom::new(),
        };
        for (id, secret, _) in self.keys.iter().take(1) {
            ring.keys.push((*id, *secret, ready(secret)?));
        }
        Ok(ring)
    }

    /// The id of the key that seals.
    pub(super) fn newest(&self) -> u32 {
        self.keys.first().map_or(0, |(id, ..)| *id)
    }

    fn add_key(&mut self) -> Result<(), SealError> {
        let mut secret = [0; KEY_BYTES];
        self.random
            .fill(&mut secret)
            .map_err(|_| SealError::NoRandomness)?;
        let id = self.keys.iter().map(|(id, ..)| *id).max().unwrap_or(0) + 1;
        let ready = ready(&secret)?;
        self.keys.insert(0, (id, secret, ready));
        Ok(())
    }

    /// Writes the key file beside, then renames it, so that it is never there by half.
    pub(super) fn save(&self, file: &Path) -> Result<(), SealError> {
        let keys = self.keys.iter().map(|(id, secret, _)| StoredKey {
            id: *id,
            algorithm: ALGORITHM.to_owned(),
            secret: BASE64.encode(secret),
        });
        let content = KeyFile {
            keys: keys.collect(),
        };
        let text = serde_json::to_vec_pretty(&content).map_err(|e| io(file, e.into()))?;
        let mut part = file.as_os_str().to_owned();
        part.push(".part");
        let part = PathBuf::from(part);
        let write = || {
            if let Some(dir) = file.parent().filter(|d| !d.as_os_str().is_empty()) {
                std::fs::create_dir_all(dir)?;
            }
            let mut options = std::fs::OpenOptions::new();
            let options = options.write(true).create(true).truncate(true).mode(0o600);
            let mut out = options.open(&part)?;
            out.write_all(&text)?;
            out.sync_all()?;
            std::fs::rename(&part, file)
        };
        write().map_err(|error| io(file, error))
    }

    /// Whether objects of this resource are sealed.
    pub(super) fn seals(&self, resource: &str) -> bool {
        self.resources.iter().any(|r| &**r == resource)
    }

    /// Seals `text` in place; answers the key's id and the nonce.
    pub(super) fn seal(
        &self,
        key: &Key,
        revision: u64,
        text: &mut Vec<u8>,
    ) -> Result<(u32, [u8; NONCE_LEN]), SealError> {
        let (id, _, ready) = self.keys.first().ok_or(SealError::UnknownKey(0))?;
        let mut nonce = [0; NONCE_LEN];
        self.random
            .fill(&mut nonce)
            .map_err(|_| SealError::NoRandomness)?;
        let bound = Aad::from(bound(key, revision));
        let unique = Nonce::assume_unique_for_key(nonce);
        ready
            .seal_in_place_append_tag(unique, bound, text)
            .map_err(|_| SealError::Unopened(*id))?;
        Ok((*id, nonce))
    }

    /// Opens what [`Keyring::seal`] made of an object at this place and revision.
    pub(super) fn open(
        &self,
        key: &Key,
        revision: u64,
        sealed: &Sealed<'_>,
    ) -> Result<Vec<u8>, SealError> {
        let found = self.keys.iter().find(|(id, ..)| *id == sealed.key);
        let (id, _, ready) = found.ok_or(SealError::UnknownKey(sealed.key))?;
        let mut text = sealed.bytes.to_vec();
        let nonce = Nonce::assume_unique_for_key(sealed.nonce);
        let length = ready
            .open_in_place(nonce, Aad::from(bound(key, revision)), &mut text)
            .map_err(|_| SealError::Unopened(*id))?
            .len();
        text.truncate(length);
        Ok(text)
    }
}

fn ready(secret: &[u8; KEY_BYTES]) -> Result<LessSafeKey, SealError> {
    let key = UnboundKey::new(&AES_256_GCM, secret).map_err(|_| SealError::NoRandomness)?;
    Ok(LessSafeKey::new(key))
}

fn io(file: &Path, source: std::io::Error) -> SealError {
    SealError::Io {
        file: file.to_owned(),
        source: Arc::new(source),
    }
}

/// What a sealed object is bound to. Names hold no NUL.
fn bound(key: &Key, revision: u64) -> Vec<u8> {
    let Key {
        resource,
        namespace,
        name,
    } = key;
    format!("{resource}\0{namespace}\0{name}\0{revision}").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring() -> (tempfile::TempDir, Sealing, Keyring) {
        let dir = tempfile::tempdir().unwrap();
        let sealing = Sealing::secrets(dir.path().join("keys.json"));
        let ring = Keyring::load_or_create(&sealing).unwrap();
        (dir, sealing, ring)
    }

    fn place(name: &str) -> Key {
        Key {
            resource: "secrets".into(),
            namespace: "default".into(),
            name: name.into(),
        }
    }

    #[test]
    fn what_is_sealed_opens_at_its_own_place_only() {
        let (_dir, sealing, ring) = ring();
        let mut text = b"password".to_vec();
        let (key, nonce) = ring.seal(&place("a"), 7, &mut text).unwrap();
        assert!(!text.windows(8).any(|w| w == b"password"));
        let bytes: &[u8] = &text;
        let sealed = Sealed { key, nonce, bytes };
        assert_eq!(ring.open(&place("a"), 7, &sealed).unwrap(), b"password");
        assert!(ring.open(&place("b"), 7, &sealed).is_err());
        assert!(ring.open(&place("a"), 8, &sealed).is_err());
        let again = Keyring::load_or_create(&sealing).unwrap();
        assert_eq!(again.open(&place("a"), 7, &sealed).unwrap(), b"password");
    }

    #[test]
    fn a_rotated_ring_opens_old_and_seals_new() {
        let (_dir, _, old) = ring();
        let mut text = b"x".to_vec();
        let (key, nonce) = old.seal(&place("a"), 1, &mut text).unwrap();
        let bytes: &[u8] = &text;
        let sealed = Sealed { key, nonce, bytes };
        let new = old.rotated().unwrap();
        assert_eq!((old.newest(), new.newest()), (1, 2));
        assert_eq!(new.open(&place("a"), 1, &sealed).unwrap(), b"x");
        let newest = new.only_newest().unwrap();
        assert!(matches!(
            newest.open(&place("a"), 1, &sealed),
            Err(SealError::UnknownKey(1))
        ));
    }

    #[test]
    fn a_bad_key_file_is_named() {
        let (_dir, sealing, _) = ring();
        for bad in [
            "",
            "{}",
            r#"{"keys":[]}"#,
            r#"{"keys":[{"id":1,"algorithm":"ROT13","secret":""}]}"#,
            r#"{"keys":[{"id":1,"algorithm":"AES-256-GCM","secret":"AAAA"}]}"#,
        ] {
            std::fs::write(&sealing.keys, bad).unwrap();
            let error = Keyring::load_or_create(&sealing).unwrap_err();
            assert!(error.to_string().contains("keys.json"), "{error}");
        }
    }
}

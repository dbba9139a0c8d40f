//! An index of packages: `packages.adb` of OpenWrt, `APKINDEX.adb` of Alpine.

use crate::block::{Blocks, Schema};
use crate::package::Package;
use crate::value::{self, Value};
use crate::version::Version;
use crate::{ApkError, Compression, Limits, PackageInfo, PublicKey, SigningKey};

/// What a repository offers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Index {
    /// Words for people.
    pub description: String,
    /// The packages, sorted by name and version.
    pub packages: Vec<PackageInfo>,
    /// Where a package lies, when not at `${name}-${version}.apk`.
    pub package_path: String,
}

impl Index {
    /// Adds a package by the bytes of its file.
    ///
    /// # Errors
    /// As [`Package::from_bytes`]; [`ApkError::Field`] when the index holds another package of that name and version.
    pub fn add(&mut self, file: &[u8], limits: Limits) -> Result<(), ApkError> {
        let blocks = Blocks::from_bytes(file, limits)?;
        let mut info = Package::from_blocks(&blocks)?.info;
        info.hash = blocks.hash().to_vec();
        info.file_size = Some(file.len() as u64);
        let same =
            |other: &PackageInfo| (&other.name, &other.version, &other.arch) == (&info.name, &info.version, &info.arch);
        if let Some(other) = self.packages.iter().find(|other| same(other)) {
            if other.hash == info.hash {
                return Ok(());
            }
            let expected = "one package of a name and version; another content needs another version";
            return Err(ApkError::field("package", info.file_name(), expected));
        }
        self.packages.push(info);
        Ok(())
    }

    /// The index file, signed by `keys`.
    ///
    /// # Errors
    /// [`ApkError::Field`] for a package whose name or version is none, [`ApkError::TooLarge`].
    pub fn to_bytes(&self, keys: &[&SigningKey], compression: Compression) -> Result<Vec<u8>, ApkError> {
        let mut sorted: Vec<_> = self.packages.iter().collect();
        for info in &sorted {
            info.check()?;
        }
        sorted.sort_by(|a, b| {
            let version = |info: &PackageInfo| Version::new(&info.version).map(|v| v.as_str().to_owned()).ok();
            let order = match (Version::new(&a.version), Version::new(&b.version)) {
                (Ok(a), Ok(b)) => a.cmp(&b),
                _ => version(a).cmp(&version(b)),
            };
            a.name.cmp(&b.name).then(order).then(a.hash.cmp(&b.hash))
        });
        let packages = sorted.iter().map(|info| info.to_value(Value::bytes(&info.hash)));
        let root = Value::object(vec![
            Value::text(&self.description),
            Value::array(packages),
            Value::text(&self.package_path),
        ]);
        let mut blocks = Blocks::new(Schema::Index, value::encode(&root)?.bytes, Vec::new());
        keys.iter().for_each(|key| blocks.sign(key));
        Ok(blocks.to_bytes(compression))
    }

    /// Reads an index without asking who signed it.
    ///
    /// # Errors
    /// As [`Blocks::from_bytes`] and [`value::decode`].
    pub fn from_bytes(bytes: &[u8], limits: Limits) -> Result<Self, ApkError> {
        Self::from_blocks(&Blocks::from_bytes(bytes, limits)?)
    }

    /// Reads an index that one of `keys` signed.
    ///
    /// # Errors
    /// As [`Index::from_bytes`]; [`ApkError::Untrusted`].
    pub fn verified(bytes: &[u8], keys: &[PublicKey], limits: Limits) -> Result<Self, ApkError> {
        let blocks = Blocks::from_bytes(bytes, limits)?;
        blocks.verify(keys)?;
        Self::from_blocks(&blocks)
    }

    fn from_blocks(blocks: &Blocks) -> Result<Self, ApkError> {
        if blocks.schema != Schema::Index || !blocks.data.is_empty() {
            return Err(ApkError::damaged("index", "is a package, expected an index"));
        }
        let root = value::decode(&blocks.tree)?;
        Ok(Self {
            description: root.field(1).as_text("description of the index")?,
            packages: root
                .field(2)
                .items()
                .iter()
                .map(PackageInfo::from_value)
                .collect::<Result<_, _>>()?,
            package_path: root.field(3).as_text("package path of the index")?,
        })
    }
}

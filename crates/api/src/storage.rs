//! Names that the maker of volumes and those who mount them agree on.

/// The provisioner of volumes that are directories of this machine.
pub const LOCAL_PROVISIONER: &str = "plimsoll.dev/local";
/// On a volume: who made it.
pub const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";

//! What the server itself writes.

use super::managers::Tracking;
use super::write::Writer;
use crate::auth::Identity;
use crate::call::Run;
use crate::remarks::Remarks;
use crate::server::ApiServer;
use plimsoll_api::kind::Kind;
use std::sync::Arc;

/// The server as an author: `system:apiserver`, whose remarks nobody hears.
#[derive(Debug)]
pub(crate) struct Own {
    identity: Identity,
    remarks: Remarks,
    kind: Arc<Kind>,
    subresource: &'static str,
    tracking: Tracking<'static>,
}

impl Own {
    /// For objects of `kind`.
    pub(crate) fn new(kind: &Arc<Kind>) -> Self {
        Self {
            identity: Identity::in_process("system:apiserver"),
            remarks: Remarks::default(),
            kind: Arc::clone(kind),
            subresource: "",
            tracking: Tracking::SERVER,
        }
    }

    /// For the status of objects of `kind`.
    pub(crate) fn status(kind: &Arc<Kind>) -> Self {
        Self {
            subresource: "status",
            ..Self::new(kind)
        }
    }

    /// Its writes own no fields.
    pub(crate) fn untracked(self) -> Self {
        Self {
            tracking: Tracking::Off,
            ..self
        }
    }

    /// A writer for what `server` keeps.
    pub(crate) fn writer<'a>(&'a self, server: &'a ApiServer) -> Writer<'a> {
        Writer {
            server,
            identity: &self.identity,
            kind: &self.kind,
            subresource: self.subresource,
            run: Run::Real,
            tracking: self.tracking,
            remarks: &self.remarks,
        }
    }
}

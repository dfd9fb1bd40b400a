//! Providers of machines: each implements
//! [`NodeProvider`](plimsoll_api::nodegroup::NodeProvider).

//! The two metrics APIs as clients see them.

#[cfg(test)]
mod cases;
#[cfg(test)]
mod rig;

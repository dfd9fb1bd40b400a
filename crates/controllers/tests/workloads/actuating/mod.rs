//! Removals of nodes carried out, well and badly.

mod failing;
mod instances;
mod machines;
mod plain;
mod random;
mod restarts;
mod stage;
mod undoing;

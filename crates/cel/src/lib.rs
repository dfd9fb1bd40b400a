//! The Common Expression Language as Kubernetes speaks it.
//!
//! An expression is parsed, checked against declared types, and given an estimate of what it may
//! cost; it runs under a budget that ends it. JSON stays JSON: only what an expression looks at is
//! converted, by the type its schema declares.
//!
//! ```text
//! text ──parse──▶ tree ──check(Env)──▶ Program ──evaluate(Bindings, Budget)──▶ Value
//! ```
//!
//! ```
//! use plimsoll_cel::{Bindings, Budget, Decl, Env, Program, Type, Value};
//! use serde_json::json;
//!
//! let env = Env::new().with("self", Decl::new(Type::Dyn));
//! let rule = Program::compile("self.min <= self.max", &env)?;
//! let object = json!({"min": 1, "max": 3});
//! let bindings = Bindings::new().with("self", Value::dynamic(&object));
//! assert!(rule.holds(&bindings, &mut Budget::per_object())?);
//!
//! let wrong = Program::compile("self.min <= other", &env).unwrap_err();
//! assert_eq!(
//!     wrong.to_string(),
//!     "ERROR: <input>:1:13: undeclared reference to 'other' (in container '')\n \
//!      | self.min <= other\n | ............^",
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "values are dynamically typed: what a function does not name it is not defined for"
)]

mod ast;
mod authorizer;
mod budget;
mod check;
mod error;
mod escape;
mod eval;
mod lex;
mod library;
mod parse;
mod program;
mod types;
mod value;

pub use authorizer::{Authorizer, Check, Decision, Question};
pub use budget::{Budget, ESTIMATED_PER_RULE, ESTIMATED_PER_SCHEMA, PER_CALL, PER_OBJECT};
pub use error::{CompileError, EvalError, Issue};
pub use escape::escape;
pub use eval::Bindings;
pub use library::net::Cidr;
pub use library::semver::Semver;
pub use library::url::Url;
pub use program::Program;
pub use types::{
    Decl, Env, FieldDecl, ListKind, ListType, MapType, ObjectType, OpaqueType, Type, UNBOUNDED,
};
pub use value::{Key, List, Map, Opaque, Shape, Text, Value};

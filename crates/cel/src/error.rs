//! What can be wrong with an expression, and with its evaluation.

/// One mistake in an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issue {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong, e.g. `undeclared reference to 'x' (in container '')`.
    pub message: String,
    /// The line of the source it is in.
    pub source_line: String,
}

impl std::fmt::Display for Issue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let dots = ".".repeat(self.column.saturating_sub(1));
        write!(
            f,
            "ERROR: <input>:{}:{}: {}\n | {}\n | {dots}^",
            self.line, self.column, self.message, self.source_line
        )
    }
}

/// An expression that does not compile. Displays every mistake with its place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", list(.issues))]
pub struct CompileError {
    /// The mistakes, in order of appearance; never empty.
    pub issues: Vec<Issue>,
}

fn list(issues: &[Issue]) -> String {
    let texts: Vec<String> = issues.iter().map(ToString::to_string).collect();
    texts.join("\n")
}

/// Why an evaluation has no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvalError {
    /// The cost limit of one evaluation was passed.
    #[error("operation cancelled: actual cost limit exceeded")]
    CostExceeded,
    /// A map or object has no such key.
    #[error("no such key: {0}")]
    NoSuchKey(String),
    /// A list has no such index.
    #[error("index out of bounds: {0}")]
    OutOfBounds(i64),
    /// The values are of types the operation is not defined for.
    #[error("no such overload")]
    NoSuchOverload,
    /// Arithmetic left the range of its type.
    #[error("{0} overflow")]
    Overflow(&'static str),
    /// Division by zero.
    #[error("division by zero")]
    DivisionByZero,
    /// Remainder of a division by zero.
    #[error("modulus by zero")]
    ModulusByZero,
    /// An argument is outside what the function accepts.
    #[error("{0}")]
    BadArgument(String),
    /// The data does not have the type its schema declares.
    #[error("{0}")]
    BadData(String),
}

impl EvalError {
    /// A [`EvalError::BadArgument`].
    pub(crate) fn bad(message: impl Into<String>) -> Self {
        Self::BadArgument(message.into())
    }
}

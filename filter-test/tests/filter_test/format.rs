//! What a file of cases may say, and how it is refused.

//! JSON as Dify stores it in text columns: not strict, perhaps cut, perhaps huge.

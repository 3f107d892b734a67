//! Business labels: the operator's rules that turn a record's inputs, tags or names into a few bounded labels.

//! What a run's rows mean together: final statuses and the first cause of a failure.

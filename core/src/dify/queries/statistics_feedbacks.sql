-- statistics_feedbacks: the whole table, which is small (bounded by reltuples and by the limit)
SELECT id, app_id, message_id, rating::text AS rating, from_source::text AS source, created_at, updated_at,
       ('x' || substr(md5(rating::text), 1, 16))::bit(64)::bigint AS version
FROM message_feedbacks ORDER BY id LIMIT $1

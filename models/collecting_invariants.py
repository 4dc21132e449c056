"""What must always hold of accepted events; `models.invariants` runs these with the others."""

from __future__ import annotations

COLLECTING = {
    "each number that a producer gave arrived, was taken back or stands in a gap": """
        SELECT p.id, p.highest, p.stored + p.refused + p.withdrawn AS arrived, COALESCE((
            SELECT SUM(g.last - g.first + 1) FROM analytics_gaps g
            WHERE g.producer_id = p.id), 0) AS missing
        FROM analytics_producers p HAVING p.highest <> arrived + missing
    """,
    "what was lost of a producer's events stands in its gaps": """
        SELECT p.id, p.lost, COALESCE((
            SELECT SUM(g.last - g.first + 1) FROM analytics_gaps g
            WHERE g.producer_id = p.id AND g.lost_at IS NOT NULL), 0) AS missing
        FROM analytics_producers p HAVING p.lost <> missing
    """,
}

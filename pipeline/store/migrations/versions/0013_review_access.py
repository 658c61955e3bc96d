"""Who may use the review panel: tokens with roles, and the sessions of their sign-ins."""

from __future__ import annotations

from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.execute("""
CREATE TABLE lotline.review_token (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    reviewer text NOT NULL,
    role text NOT NULL,
    counties text[],
    sha256 text NOT NULL UNIQUE,
    created_at timestamptz NOT NULL DEFAULT now(),
    used_at timestamptz,
    revoked_at timestamptz,
    CONSTRAINT review_token_role_check CHECK (role IN ('viewer', 'reviewer', 'admin')),
    CONSTRAINT review_token_reviewer_check CHECK (reviewer <> ''),
    CONSTRAINT review_token_counties_check CHECK (cardinality(counties) > 0)
);
CREATE TABLE lotline.review_session (
    sha256 text PRIMARY KEY,
    token_fk bigint NOT NULL REFERENCES lotline.review_token (id),
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL
);
CREATE INDEX review_session_token_idx ON lotline.review_session (token_fk);
""")

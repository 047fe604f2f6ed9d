"""What several operations of the command are given: each option once, with its words."""

from router.cli.operation import Field

ORG_ROLES, PROJECT_ROLES = "owner, admin, billing, member or auditor", "admin, member or viewer"
NAME = Field("name", "What people read.", required=True)
NEW_NAME = Field("name", "What people read.")
ZONE = Field("time_zone", "As Europe/Berlin; days and months of budgets and invoices are in it.")
ROLE = Field("role", ORG_ROLES + ".", required=True)
PROJECT_ROLE = Field("role", PROJECT_ROLES + ".", required=True)
MODELS = Field(
    "models",
    "A model or alias that it may use; repeat it for more. Without: every model.",
    "texts",
    option="model",
    can_clear=True,
)
CAPS = (
    Field("choices_max", "The largest `n` of a request.", "number", can_clear=True),
    Field("output_tokens_max", "The most output tokens that a request may ask for.", "number", can_clear=True),
)
CIDRS = Field("cidrs", "A network that it works from, as 10.0.0.0/8; repeat it for more.", "texts", option="cidr", can_clear=True)
EXPIRES = Field("expires_at", "When it ends: a date, a time, or +30d.", "instant", option="expires", can_clear=True)
SCOPES = Field("scopes", "inference, usage.read or admin; repeat it for more.", "texts", option="scope")
REVOKED = Field("include_revoked", "Those that were revoked, too.", "flag", option="revoked")
SCOPE = (
    Field("project_id", "Only of this project.", option="project"),
    Field("api_key_id", "Only of this key.", option="key"),
    Field("model", "Only of this model."),
)
SCOPE_OF_BUDGET = (
    Field("user_id", "Only of this user.", option="user"),
    Field("service_account_id", "Only of this service account.", option="service-account"),
)
RATES = (
    Field("requests_per_minute", "", "number", can_clear=True),
    Field("input_tokens_per_minute", "", "number", can_clear=True),
    Field("output_tokens_per_minute", "", "number", can_clear=True),
    Field("requests_at_once", "", "number", can_clear=True),
)
TEMPLATE = (
    Field("template_tokens_per_call", "At most that the chat template adds to a call.", "number"),
    Field("template_tokens_per_message", "At most that it adds to a message.", "number"),
    Field("template_tokens_for_tools", "At most that it adds where there are tools.", "number"),
    Field("media_tokens_max", "Of an image, a sound or a film.", "number", can_clear=True),
)
LIMIT_USD = Field("limit_usd", "USD, as 250 or 0.50; exact.", option="usd")
RAISE = (
    Field("raised_limit_usd", "The limit for a while, with --raised-until.", option="raised-usd", can_clear=True),
    Field("raised_until", "Until then: a date, a time, or +7d.", "instant", can_clear=True),
)
MODE = Field("mode", "hard, soft or shadow.")
LIMIT_MODE = Field("mode", "hard or shadow.")
ALERTS = Field("alert_percents", "Tell at this share of the limit; repeat it for more.", "numbers", option="alert-at")
WEBHOOK_URL = Field("url", "An https:// address.")
WEBHOOK = (
    Field("event_types", "A type that it is told of; repeat it for more. Without: all.", "texts", option="event", can_clear=True),
    Field("enabled", "Whether it is told of anything.", "boolean"),
)
REPORT = (
    Field("start_time", "From: a date, a time, or -7d.", "instant", required=True, option="from"),
    Field("end_time", "Until, not part of it; without it, now.", "instant", option="until"),
    Field("bucket_width", "1h or 1d.", option="width"),
    Field("group_by[]", "project_id, user_id, api_key_id or model; repeat it for more.", "texts"),
    Field("project_ids[]", "Only this project; repeat it for more.", "texts", option="project"),
    Field("user_ids[]", "Only this user; repeat it for more.", "texts", option="user"),
    Field("api_key_ids[]", "Only this key; repeat it for more.", "texts", option="key"),
    Field("models[]", "Only this model; repeat it for more.", "texts", option="model"),
)
LOG = (
    Field("event_types[]", "Only this type, as api_key.created; repeat it for more.", "texts", option="event"),
    Field("actor_ids[]", "Only by this user or key; repeat it for more.", "texts", option="actor"),
    Field("actor_emails[]", "Only by who has this address; repeat it for more.", "texts", option="email"),
    Field("resource_ids[]", "Only about this thing; repeat it for more.", "texts", option="resource"),
    Field("project_ids[]", "Only in this project; repeat it for more.", "texts", option="project"),
    Field("effective_at[gte]", "From: a date, a time, or -7d.", "instant", option="from"),
    Field("effective_at[lt]", "Until, not part of it.", "instant", option="until"),
)
STAGES = Field(
    "stages",
    "MODEL=WEIGHT,MODEL=WEIGHT: models that share the requests; repeat it for those that stand in when they cannot.",
    "stages",
    required=True,
    option="stage",
)
ROUTING = (
    Field("weight", "Its share of the load, relative to the model's other engines; 0 drains it.", "number"),
    Field("requests_at_once", "Of each worker.", "number", can_clear=True),
    Field("served_model", "What the engine itself calls the model.", can_clear=True),
    Field("api_key", "Key of a hosted provider; it is never shown again.", can_clear=True),
    Field(
        "canary_percent", "Share of the model's requests on trial; said again, a stopped trial goes on.", "number", can_clear=True
    ),
    Field("gpus", "GPUs that it runs on, all nodes together.", "number"),
    Field("gpu_hour_usd", "USD that one of them costs an hour, from now on."),
)
CODE = Field("code", "A code of the authenticator.", required=True)

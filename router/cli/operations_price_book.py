"""Routes of prices, discounts and volume tiers: further rows of the table in `operations.py`."""

from router.cli.operation import Field, Operation, create_, delete_, get_, list_, post_

_REASON = Field("reason", "Why, for the audit log.", required=True)
_CONFIRM = Field("confirm_change", "That a price of 0, a large change or more than half off is meant.", "flag", option="confirm")
_VERSION = (
    Field("model", "For this model.", required=True),
    Field("organization", "Only for this one; without it, list price.", option="for"),
    Field("currency", "USD: the price book has no other."),
    *(
        Field(f"{kind}_usd_per_million", f"USD for a million {said} tokens, as 0.25.", required=True, option=f"{kind}_usd")
        for kind, said in (("input", "input"), ("cached_input", "cached input"), ("output", "output"))
    ),
    Field("reasoning_usd_per_million", "The same of reasoning; without it, as other output tokens.", option="reasoning_usd"),
    Field("request_usd", "USD for each request that is charged, as 0.002."),
    Field("priority", "1 or more with a condition; of those that hold, the highest comes first.", "number"),
    Field("endpoint", "Only requests of this one, as rerank."),
    Field("input_tokens_from", "Only requests with so many input tokens.", "number"),
    Field("input_tokens_until", "Only requests with fewer.", "number"),
    Field("tags", "NAME=VALUE: only requests that carry it; repeat it for more.", "pairs", option="tag"),
    Field("effective_from", "From; without it, now.", "instant", option="from"),
    Field("effective_until", "Until.", "instant", option="until"),
)
_MONTHS = (
    Field("first_month", "As 2026-12.", required=True, option="from"),
    Field("last_month", "As 2026-12, part of it; without it, until it is ended.", option="until"),
)
_LAST_MONTH = Field("last_month", "As 2026-12, part of it; without it, this month.", option="until")
_BASIS_POINTS = Field("basis_points", "Parts of 10,000 that are not paid: 250 is 2.5 percent.", "number", required=True)

PRICE_BOOK: tuple[Operation, ...] = (
    list_(
        "price",
        "/platform/prices",
        "Price versions, for platform admins.",
        Field("model", "Only of this model."),
        Field("organization", "An id, or `list` for list prices."),
        Field("at", "Only what is in force then.", "instant"),
        columns="id model organization priority endpoint input_tokens_from input_tokens_until tags "
        "input_usd_per_million cached_input_usd_per_million output_usd_per_million reasoning_usd_per_million request_usd "
        "effective_from effective_until",
    ),
    create_("price", "/platform/prices", "A new price from an instant on; what was billed stays.", *_VERSION, _REASON, _CONFIRM),
    post_(
        "price",
        "preview",
        "/platform/price_previews",
        "What a new price would change, and what the last 30 days would have cost. Changes nothing.",
        *_VERSION,
    ),
    get_("price", "/platform/prices/{price_id}"),
    post_(
        "price",
        "end",
        "/platform/prices/{price_id}/end",
        "Let a price end that is an organization's own or has a condition.",
        Field("effective_until", "When; without it, now.", "instant", option="at"),
        destroys="end",
    ),
    delete_(
        "price",
        "delete",
        "/platform/prices/{price_id}",
        "Take back a price that is not in force yet.",
        "take back",
        Field("extend_before", "Whether the price before goes on: true unless you say.", "boolean"),
    ),
    list_(
        "discount",
        "/platform/discounts",
        "What organizations do not pay, for platform admins.",
        Field("organization", "Only of this one."),
        Field("model", "Only of this model itself."),
        columns="id organization model basis_points first_month last_month reason",
    ),
    create_(
        "discount",
        "/platform/discounts",
        "A discount for whole months of an organization.",
        Field("organization", "For this one.", required=True, option="for"),
        Field("model", "Only of this model; without it, of all that have none of their own."),
        _BASIS_POINTS,
        *_MONTHS,
        _REASON,
        _CONFIRM,
    ),
    get_("discount", "/platform/discounts/{discount_id}"),
    post_(
        "discount",
        "end",
        "/platform/discounts/{discount_id}/end",
        "Let a discount end with this month, or a later one.",
        _LAST_MONTH,
        destroys="end",
    ),
    delete_("discount", "delete", "/platform/discounts/{discount_id}", "Take back a discount that has not begun.", "take back"),
    list_(
        "volume-tier",
        "/platform/volume_tiers",
        "What costs less above a quantity of a month, for platform admins.",
        Field("model", "Only of this model."),
        Field("organization", "An id, or `list` for those that are for everybody."),
        columns="id model organization token_class above_quantity basis_points first_month last_month reason",
    ),
    create_(
        "volume-tier",
        "/platform/volume_tiers",
        "What is above a quantity of a month costs less, up to the next tier.",
        Field("model", "Of this model.", required=True),
        Field("organization", "Only for this one; without it, for everybody.", option="for"),
        Field("token_class", "input, cached_input, output, reasoning or request.", required=True, option="class"),
        Field("above_quantity", "Tokens, or requests, of a month.", "number", required=True, option="above"),
        _BASIS_POINTS,
        *_MONTHS,
        _REASON,
        _CONFIRM,
    ),
    get_("volume-tier", "/platform/volume_tiers/{tier_id}", "One volume tier."),
    post_(
        "volume-tier",
        "end",
        "/platform/volume_tiers/{tier_id}/end",
        "Let a tier end with this month, or a later one.",
        _LAST_MONTH,
        destroys="end",
    ),
    delete_("volume-tier", "delete", "/platform/volume_tiers/{tier_id}", "Take back a tier that has not begun.", "take back"),
)

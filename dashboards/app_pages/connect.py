"""How to send a request and how to query rows."""

import streamlit as st

from dashboards.api import ApiRefused, ApiUnreachable
from dashboards.app_pages.frame import Frame, require

QUERY = (
    "select hour_utc, model, input_tokens, output_tokens, cost_picousd from marts.usage_hourly order by hour_utc desc limit 20"
)


def _model(frame: Frame) -> str:
    """A model that answers now, a real one before the simulated; so that what is copied from here works."""
    try:
        engines = frame.api.engines(frame.viewer.token, frame.organization.public_id)
    except (ApiRefused, ApiUnreachable):
        engines = []
    engines.sort(key=lambda engine: (not engine["healthy"], engine["kind"] == "simulated", engine["model"]))
    return str(engines[0]["model"]) if engines else "simulated"


page = require()
base_url, model = page.settings.api_url, _model(page)
st.header("Connect")
st.markdown(
    "Any OpenAI SDK works: give it this address and a key of your organization (after `make up`, both are in `.local/env`)."
)
st.code(base_url, language=None)
python, curl, sql = st.tabs(["Python", "curl", "SQL"])
python.code(
    f"""from openai import OpenAI

client = OpenAI(base_url="{base_url}", api_key="sk-ih-…")
answer = client.chat.completions.create(
    model="{model}",
    messages=[{{"role": "user", "content": "Say hello."}}],
)
print(answer.choices[0].message.content, answer.usage)""",
    language="python",
)
curl.code(
    f"""curl -i {base_url}/chat/completions \\
  -H "Authorization: Bearer $INFERHOUSE_API_KEY" \\
  -H "Content-Type: application/json" \\
  -d '{{"model": "{model}", "messages": [{{"role": "user", "content": "Say hello."}}]}}'""",
    language="bash",
)
sql.markdown(
    "Your organization's read-only login sees its own rows of every mart, and nobody else's. "
    "After `make up` its connection string is `INFERHOUSE_SQL_URL` in `.local/env`; elsewhere a platform admin gives it to you."
)
sql.code(f'psql "$INFERHOUSE_SQL_URL" -c "{QUERY}"', language="bash", wrap_lines=True)
st.caption("The request is on the Overview and Requests pages within a minute; its id is in the x-request-id header.")

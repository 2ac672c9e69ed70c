# glip_pl with the versions of the lock file. Build: docker build -t glip .
# Run: docker run --rm -v "$PWD:/work" glip predict --weights=best.ckpt --image=photo.jpg --prompt="cat."
FROM python:3.11-slim-bookworm

ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PYTHONUNBUFFERED=1

RUN useradd --create-home --uid 1000 glip
WORKDIR /opt/glip_pl
# The packages change less often than the code, so they are a layer of their own.
COPY requirements.lock requirements-small.lock ./
RUN pip install -r requirements.lock && pip install --no-deps -r requirements-small.lock
COPY . .
RUN pip install --no-deps .

USER 1000
WORKDIR /work
ENTRYPOINT ["glip"]
CMD ["--help"]

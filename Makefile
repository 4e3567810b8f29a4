.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run build test test-browser test-container sbom release torture torture-cluster bench coverage send up down logs clean

SECRET_FILE := .development-secret
TOOLS := node_modules/.package-lock.json

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: build $(SECRET_FILE) ## Build and serve on http://127.0.0.1:8000, database ./app.db
	@scripts/run

build: $(TOOLS) ## Compile src/ to dist/
	@npm run --silent build

test: $(TOOLS) ## Type-check, build and run every test
	@npm test --silent

test-browser: $(TOOLS) ## Look at the page in a real browser (chromium has to be installed); pictures in .screenshots/
	@npm run --silent test-browser

test-container: $(TOOLS) ## Build the Dockerfile on stand-in images and run it as a container would be (Debian, as root, with buildah)
	@scripts/node test/container/run.ts

sbom: $(TOOLS) ## Write bills of materials (CycloneDX) of the product and of its build to .release/
	@scripts/node scripts/sbom.ts .release

release: $(TOOLS) ## Write the release archive, bills of materials and SHA256SUMS to .release/, the same bytes from every clone
	@scripts/release

torture: build ## Run the long failure and overload scenarios and print their figures (minutes)
	@scripts/node test/torture/run.ts $(ARGS)

torture-cluster: build ## Kill, freeze and cut off the nodes of a PostgreSQL cluster (Debian's postgresql, patroni and etcd-server have to be installed)
	@scripts/node test/torture/cluster.ts $(ARGS)

bench: build ## Measure speed and draw it into .bench/ (some 25 minutes); options: make bench ARGS="--help"
	@scripts/node test/bench/run.ts $(ARGS)

coverage: $(TOOLS) ## Run every test and show the line coverage of src/
	@npm run --silent coverage

send: $(TOOLS) $(SECRET_FILE) ## Sign and send a message to a running server; options: make send ARGS="--help"
	@WEBHOOK_SECRET="$${WEBHOOK_SECRET:-$$(cat $(SECRET_FILE))}" scripts/node scripts/send.ts $(ARGS)

up: ## Build the image and start the container (needs WEBHOOK_SECRET)
	docker compose up --build --detach

down: ## Stop the container; the volume stays
	docker compose down

logs: ## Follow the container's log
	docker compose logs --follow

clean: ## Remove what was built and installed; databases and the secret stay
	rm -rf dist node_modules scripts/runtime/node_modules

$(TOOLS): package-lock.json
	@npm ci --no-audit --no-fund --loglevel=error

$(SECRET_FILE):
	@secret=$$(scripts/node -p 'crypto.randomBytes(32).toString("hex")') && umask 077 && printf '%s\n' "$$secret" > $@

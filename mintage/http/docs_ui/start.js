// Both documents in one page; the bar at the top chooses.
window.ui = SwaggerUIBundle({
  urls: [
    { name: "document-v1 · /api/v1", url: "/docs/v1/openapi.json" },
    { name: "document-server · /api", url: "/docs/server/openapi.json" },
  ],
  dom_id: "#swagger-ui",
  deepLinking: true,
  persistAuthorization: true,
  tryItOutEnabled: true,
  validatorUrl: null,
  presets: [SwaggerUIBundle.presets.apis, SwaggerUIStandalonePreset],
  layout: "StandaloneLayout",
});

// SPDX-License-Identifier: MIT
// Jobs as tests submit them. "sim" tells the simulator how to behave for this
// job alone: docs/SIMULATOR.md has the words.

let serial = 0;

/* Prompts differ, so that reconciling by input can tell jobs apart. */
function prompt(name) {
	serial++;
	return `${name} ${process.pid}.${serial}`;
}

function job(name, provider, model, input, sim, rest) {
	return {
		name,
		provider,
		model,
		input: {
			prompt: prompt(name),
			...input,
			...(sim && { rushes_sim: sim }),
		},
		...rest,
	};
}

/** A picture of Replicate's: webhook, and polled as well. */
export function still(name, sim, rest = {}, input = {}) {
	return job(name, "replicate", "acme/still-image", input, sim, rest);
}

/** A clip of fal's: webhook, and polled as well. */
export function clip(name, sim, rest = {}, input = {}) {
	return job(name, "fal", "fal-ai/acme/text-to-video", input, sim, rest);
}

/** A clip of Veo's on Vertex AI: polled. */
export function veo(name, sim, rest = {}, input = {}) {
	return {
		name,
		provider: "vertex",
		model: "veo-3.1-generate-001",
		input: {
			prompt: prompt(name),
			...input,
			...(sim && {
				parameters: { ...input.parameters, rushes_sim: sim },
			}),
		},
		...rest,
	};
}

export const makers = { replicate: still, fal: clip, vertex: veo };

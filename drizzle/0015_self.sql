ALTER TABLE `keys` ADD `made_from` text;--> statement-breakpoint
CREATE INDEX `keys_made_from` ON `keys` (`made_from`) WHERE made_from IS NOT NULL;
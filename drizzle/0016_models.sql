ALTER TABLE `consumers` ADD `models` text;--> statement-breakpoint
ALTER TABLE `keys` ADD `models` text;
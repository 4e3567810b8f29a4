-- Run by the image when the volume is empty: a role that owns one database, and is nothing else.
\set ON_ERROR_STOP on
\set password `cat /run/secrets/inbox-password`
CREATE ROLE inbox LOGIN PASSWORD :'password';
CREATE DATABASE inbox OWNER inbox ENCODING 'UTF8' TEMPLATE template0;
REVOKE CONNECT ON DATABASE inbox FROM PUBLIC;

DROP TABLE providers_connectiontestoutcome, providers_connectiontest;
DROP FUNCTION connection_test_refuse_change();
DROP FUNCTION connection_test_date();
